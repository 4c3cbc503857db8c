// What a system call came to: nothing, or the errno and the call that gave it. No exceptions here.
#ifndef UPSTREAMPROXY_SYSTEM_RESULT_H_
#define UPSTREAMPROXY_SYSTEM_RESULT_H_

namespace upstreamproxy {

struct SystemResult {
  // 0: it was done
  int error = 0;
  // of static storage
  const char* call = "";

  bool ok() const { return error == 0; }
};

// The name of an errno, such as "EPERM"; "EUNKNOWN" for one that none of our calls gives.
const char* ErrnoName(int error);

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_SYSTEM_RESULT_H_
