/** What docs/security.md says is not stopped gets at the token of a hardened process: the document promises no more than holds. */
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { eventually, within } from '../support/deadline.js'
import { matchWhole } from '../support/match-whole.js'
import { CANARY, runtimes } from './host.js'
import { ATTACK_PROGRAM, attack, attacking, heapHas, inspectorUrl, startVictim, UID } from './victim.js'

const SKIP = attacking()
const NO_COMPILER =
  spawnSync('g++', ['--version']).error !== undefined && !process.env['CI'] && 'needs a C compiler: g++'
const DIST = fileURLToPath(new URL('../../dist/', import.meta.url))
// Reads along.
const LIBRARY = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static ssize_t seen(void *buffer, ssize_t length) {
  if (length > 0 && memmem(buffer, length, "${CANARY}", ${CANARY.length}) != NULL) {
    int file = open("stolen", O_WRONLY | O_CREAT, 0600);
    if (write(file, buffer, length) < 0) return -1;
    close(file);
  }
  return length;
}

ssize_t read(int file, void *buffer, size_t size) {
  static ssize_t (*real)(int, void *, size_t);
  if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "read");
  return seen(buffer, real(file, buffer, size));
}

ssize_t pread64(int file, void *buffer, size_t size, off_t offset) {
  static ssize_t (*real)(int, void *, size_t, off_t);
  if (real == NULL) *(void **)&real = dlsym(RTLD_NEXT, "pread64");
  return seen(buffer, real(file, buffer, size, offset));
}
`

for (const [name, program] of runtimes()) {
  t.test(`on ${name}`, SKIP, async (t) => {
    const start = async (t: Test, settings: Parameters<typeof startVictim>[1] = {}) => {
      const victim = await startVictim(t, { program, ...settings })
      matchWhole(t, victim.host.report, { enabled: true, lines: [] }, 'hardened')
      return victim
    }

    t.test('its memory, open from before', async (t) => {
      const words = JSON.stringify([ATTACK_PROGRAM, 'held-mem'])
      const { host, regions } = await start(t, {
        before: `new Promise((resolve) => {
          const words = [...${words}, String(process.pid), '${CANARY}']
          globalThis.holder = load('child_process').spawn('python3', words, { stdio: ['pipe', 'pipe', 'inherit'] })
          holder.stdout.once('data', resolve)
        })`,
      })
      const answer = host.ask(`new Promise((resolve) => {
        holder.stdout.once('data', (bytes) => resolve(String(bytes)))
        holder.stdin.end('${regions.join(' ')}\\n')
      })`)
      t.equal(await answer, 'leaked\n')
      t.match(
        await attack('mem', UID, [String(host.pid), CANARY, ...regions]),
        /^refused E/,
        'one of now has none',
      )
    })

    t.test('root that may trace', { skip: !mayTrace() && 'needs CAP_SYS_PTRACE' }, async (t) => {
      const { host, regions } = await start(t)
      const words = [String(host.pid), CANARY, ...regions]
      t.equal(await attack('process_vm_readv', 0, words), 'leaked')
      t.equal(await attack('process_vm_readv', UID, words), 'refused EPERM')
    })

    t.test('code that NODE_OPTIONS puts into it', async (t) => {
      const folder = openFolder(t)
      const file = join(folder, 'code.cjs')
      writeFileSync(file, `process.on('SIGUSR2', () => require('v8').writeHeapSnapshot('Heap.heapsnapshot'))`)
      await heapAtSignal(t, (await start(t, { env: { NODE_OPTIONS: `--require ${file}` } })).host)
    })

    t.test('code that LD_PRELOAD puts into it', { skip: NO_COMPILER }, async (t) => {
      const folder = openFolder(t)
      const library = join(folder, 'library.so')
      const words = ['-x', 'c', '-shared', '-fPIC', '-o', library, '-', '-ldl']
      const { status, stderr } = spawnSync('g++', words, { input: LIBRARY, encoding: 'utf8' })
      t.equal(status, 0, stderr)
      const { host } = await start(t, { env: { LD_PRELOAD: library } })
      t.match(readFileSync(join(host.folder, 'stolen'), 'latin1'), CANARY)
    })

    t.test('a flag that writes the heap at a signal', async (t) => {
      await heapAtSignal(t, (await start(t, { flags: ['--heapsnapshot-signal=SIGUSR2'] })).host)
    })

    t.test('an inspector that the host opens later', async (t) => {
      const { host, inspectorPort } = await start(t)
      await host.ask(`load('inspector').open(${inspectorPort}, '127.0.0.1'), 0`)
      const url = await inspectorUrl(inspectorPort, 5_000)
      t.equal(await heapHas(url!, CANARY), true)
    })

    t.test('a host that makes itself dumpable again', async (t) => {
      const { host, regions } = await start(t)
      const words = [String(host.pid), CANARY, ...regions]
      t.match(await attack('mem', UID, words), /^refused E/)
      const module = JSON.stringify(join(DIST, 'platform/process-controls.js'))
      await host.ask(`load(${module}).processControl().control.setDumpable(true), 0`)
      t.equal(await attack('mem', UID, words), 'leaked')
    })
  })
}

async function heapAtSignal(t: Test, host: { readonly pid: number; readonly folder: string }): Promise<void> {
  // The same user may send it.
  const sender = spawn('kill', ['-USR2', String(host.pid)], { uid: UID, gid: UID })
  await within(new Promise((resolve) => sender.on('exit', resolve)), 'the signal')
  const holds = () =>
    readdirSync(host.folder)
      .filter((name) => name.endsWith('.heapsnapshot'))
      .some((name) => readFileSync(join(host.folder, name), 'latin1').includes(CANARY))
  await eventually(holds, 'the token in a snapshot of the heap')
  t.pass('the token is in a snapshot of the heap')
}

// One that the victim may enter, whatever our umask is.
function openFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'upstreamproxy-code-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o755)
  return folder
}

function mayTrace(): boolean {
  if (!existsSync('/proc/self/status')) return false
  const [, effective] = /^CapEff:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))!
  return (BigInt(`0x${effective}`) & (1n << 19n)) !== 0n
}
