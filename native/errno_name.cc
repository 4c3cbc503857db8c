// Names of errnos. A table of our own: the C libraries' (strerrorname_np) is glibc's alone.
#include <errno.h>

#include "system_result.h"

namespace upstreamproxy {

const char* ErrnoName(int error) {
  switch (error) {
#define NAME(name) \
  case name:       \
    return #name;
    NAME(EPERM)
    NAME(ENOENT)
    NAME(ESRCH)
    NAME(EINTR)
    NAME(EIO)
    NAME(ENXIO)
    NAME(E2BIG)
    NAME(EBADF)
    NAME(EAGAIN)
    NAME(ENOMEM)
    NAME(EACCES)
    NAME(EFAULT)
    NAME(EBUSY)
    NAME(EEXIST)
    NAME(ENODEV)
    NAME(ENOTDIR)
    NAME(EISDIR)
    NAME(EINVAL)
    NAME(ENFILE)
    NAME(EMFILE)
    NAME(ENOTTY)
    NAME(EFBIG)
    NAME(ENOSPC)
    NAME(ESPIPE)
    NAME(EROFS)
    NAME(EPIPE)
    NAME(ENAMETOOLONG)
    NAME(ENOSYS)
    NAME(ENODATA)
    NAME(ETIME)
    NAME(EPROTO)
    NAME(EOVERFLOW)
    NAME(ENOTSOCK)
    NAME(EDESTADDRREQ)
    NAME(EMSGSIZE)
    NAME(EPROTOTYPE)
    NAME(ENOPROTOOPT)
    NAME(EPROTONOSUPPORT)
    NAME(EOPNOTSUPP)
    NAME(EAFNOSUPPORT)
    NAME(EADDRINUSE)
    NAME(EADDRNOTAVAIL)
    NAME(ENETDOWN)
    NAME(ENETUNREACH)
    NAME(ENETRESET)
    NAME(ECONNABORTED)
    NAME(ECONNRESET)
    NAME(ENOBUFS)
    NAME(EISCONN)
    NAME(ENOTCONN)
    NAME(ETIMEDOUT)
    NAME(ECONNREFUSED)
    NAME(EHOSTDOWN)
    NAME(EHOSTUNREACH)
    NAME(EALREADY)
    NAME(EINPROGRESS)
    NAME(ECANCELED)
#undef NAME
    default:
      return "EUNKNOWN";
  }
}

}  // namespace upstreamproxy
