"""What another process of the same user can try on a process that holds a secret. One attack a call:

    attack.py ATTACK PID CANARY [MORE…]

It prints `leaked`, or `refused` and the name of the errno, or `sent` for a signal. MORE are memory regions, as START-END
in hex, for those that read memory: they are given, so that no attack fails merely because it does not know where to
look. Three helpers are no attacks of their own: `seize-thread` traces one thread; `without-prctl` runs a program to which
the kernel refuses prctl(PR_SET_DUMPABLE); `held-mem PID CANARY` opens its memory at once, says so, and reads the regions
that come in the next line of standard input.
"""
import ctypes
import errno
import mmap
import os
import platform
import signal
import struct
import subprocess
import sys
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long


def main():
    attack, *rest = sys.argv[1:]
    if attack in HELPERS:
        return HELPERS[attack](*rest)
    pid, canary, *regions = rest
    try:
        found = ATTACKS[attack](int(pid), canary.encode(), [parse(each) for each in regions])
        print("sent" if found is None else "leaked" if found else "refused NOTHING")
    except OSError as error:
        print("refused", errno.errorcode.get(error.errno, error.errno))


def parse(region):
    start, end = (int(part, 16) for part in region.split("-"))
    return start, end


def process_vm_readv(pid, canary, regions):
    class Iovec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]

    def read(start, length):
        buffer = ctypes.create_string_buffer(length)
        local = Iovec(ctypes.cast(buffer, ctypes.c_void_p), length)
        remote = Iovec(start, length)
        count = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        if count < 0:
            raise OSError(ctypes.get_errno(), "process_vm_readv")
        return buffer.raw[:count]

    return search(read, canary, regions)


def mem(pid, canary, regions):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        return search_file(file, canary, regions)


def search_file(file, canary, regions):
    return search(lambda start, length: os.pread(file.fileno(), length, start), canary, regions)


def search(read, canary, regions):
    refused = None
    for start, end in regions:
        for at in range(start, end, CHUNK):
            try:
                # A canary that lies across two chunks is found by the next region that has it: there are several.
                if canary in read(at, min(CHUNK, end - at)):
                    return True
            except OSError as error:
                # A page that is not there is no refusal.
                if error.errno not in (errno.EIO, errno.EFAULT):
                    raise
                refused = error
    if refused is not None:
        raise refused
    return False


def environ(pid, canary, _):
    with open(f"/proc/{pid}/environ", "rb") as file:
        return canary in file.read()


def fd(pid, canary, _):
    return any(canary in contents(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd"))


def contents(path):
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return os.pread(descriptor, CHUNK, 0)
        finally:
            os.close(descriptor)
    except OSError as error:
        # A socket, an epoll, a pipe of another user's: not what is looked for.
        if error.errno in (errno.ENXIO, errno.ESPIPE, errno.EINVAL, errno.EISDIR, errno.ENODEV, errno.EACCES):
            return b""
        raise


def pidfd_getfd(pid, canary, _):
    handle = checked(libc.syscall(SYSCALLS["pidfd_open"], pid, 0))
    for number in range(64):
        descriptor = libc.syscall(SYSCALLS["pidfd_getfd"], handle, number, 0)
        if descriptor < 0:
            if ctypes.get_errno() == errno.EBADF:
                continue
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        try:
            if canary in os.pread(descriptor, CHUNK, 0):
                return True
        except OSError:
            # A socket or the like.
            pass
        finally:
            os.close(descriptor)
    return False


def gdb(pid, canary, regions):
    with tempfile.TemporaryDirectory() as folder:
        dumps = [
            word
            for index, (start, end) in enumerate(regions)
            for word in ("-ex", f"dump binary memory {folder}/{index} {start} {end}")
        ]
        flags = ["-nx", "-batch", "--readnever", "-iex", "set auto-solib-add off", "-iex", "set debuginfod enabled off"]
        words = ["gdb", *flags, "-p", str(pid), *dumps, "-ex", "detach"]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                if canary in file.read():
                    return True
        if b"Operation not permitted" in done.stdout:
            raise OSError(errno.EPERM, "ptrace")
        sys.stderr.buffer.write(done.stdout)
        return False


def gcore(pid, canary, _):
    with tempfile.TemporaryDirectory() as folder:
        words = ["gcore", "-o", f"{folder}/core", str(pid)]
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=80)
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), "rb") as file:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as core:
                    if core.find(canary) >= 0:
                        return True
        if b"Operation not permitted" in done.stdout:
            raise OSError(errno.EPERM, "ptrace")
        sys.stderr.buffer.write(done.stdout)
        return False


# What the process writes while it is traced.
def strace(pid, canary, _):
    words = ["timeout", "20", "strace", "-f", "-s", "4096", "-e", "trace=write,pwrite64", "-p", str(pid)]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        said = b""
        for line in child.stderr:
            said += line
            if canary in line:
                child.terminate()
                return True
            if b"Operation not permitted" in line:
                raise OSError(errno.EPERM, "ptrace")
    sys.stderr.buffer.write(said)
    return False


def signal_usr1(pid, _canary, _regions):
    os.kill(pid, signal.SIGUSR1)


def signal_quit(pid, _canary, _regions):
    os.kill(pid, signal.SIGQUIT)


def signal_abrt(pid, _canary, _regions):
    os.kill(pid, signal.SIGABRT)


def held_mem(pid, canary):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        print("held", flush=True)
        regions = [parse(each) for each in sys.stdin.readline().split()]
        print("leaked" if search_file(file, canary.encode(), regions) else "refused NOTHING", flush=True)


def seize_thread(pid):
    thread = max(int(name) for name in os.listdir(f"/proc/{pid}/task"))
    if thread == int(pid):
        sys.exit("it has one thread only")
    if libc.ptrace(PTRACE_SEIZE, thread, None, None) < 0:
        print(errno.errorcode[ctypes.get_errno()], flush=True)
    else:
        print("seized", flush=True)
    sys.stdin.read()


def without_prctl(*command):
    # seccomp(2), as a BPF program: prctl (its number) with option 4 gets EPERM, all else goes on.
    instructions = [
        (0x20, 0, 0, 0),
        (0x15, 0, 3, SYSCALLS["prctl"]),
        (0x20, 0, 0, 16),
        (0x15, 0, 1, 4),
        (0x06, 0, 0, 0x00050000 | errno.EPERM),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
    header = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(program))
    PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    checked(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0))
    os.execvp(command[0], command)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "system call")
    return result


CHUNK = 4 * 1024 * 1024
PTRACE_SEIZE = 0x4206
SYSCALLS = {
    "x86_64": {"prctl": 157, "pidfd_open": 434, "pidfd_getfd": 438},
    "aarch64": {"prctl": 167, "pidfd_open": 434, "pidfd_getfd": 438},
}[platform.machine()]
ATTACKS = {
    "process_vm_readv": process_vm_readv,
    "mem": mem,
    "environ": environ,
    "fd": fd,
    "pidfd_getfd": pidfd_getfd,
    "gdb": gdb,
    "gcore": gcore,
    "strace": strace,
    "SIGUSR1": signal_usr1,
    "SIGQUIT": signal_quit,
    "SIGABRT": signal_abrt,
}
HELPERS = {"held-mem": held_mem, "seize-thread": seize_thread, "without-prctl": without_prctl}

main()
