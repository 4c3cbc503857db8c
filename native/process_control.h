// Calls for this very process (Linux): dumpability, SIGUSR1, tracers.
//
// Rule 1: they do what they are told and judge nothing.
// Rule 2: what is changed belongs to the whole process, so every thread may call, at the same time.
#ifndef UPSTREAMPROXY_PROCESS_CONTROL_H_
#define UPSTREAMPROXY_PROCESS_CONTROL_H_

#include "system_result.h"

namespace upstreamproxy {

enum class Disposition { kDefault, kIgnored, kCaught };

// prctl(2), PR_SET_DUMPABLE.
SystemResult SetDumpable(bool dumpable);

// prctl(2), PR_GET_DUMPABLE: 0, 1, or 2 (readable by root alone).
SystemResult Dumpable(int* value);

// sigaction(2): where SIGUSR1 goes.
SystemResult Sigusr1Disposition(Disposition* disposition);

// Ignores SIGUSR1 and keeps what was there. Where it is ignored already, nothing is kept anew.
SystemResult IgnoreSigusr1();

// Puts back what IgnoreSigusr1 replaced, if it is still ignored; then there is nothing kept any more.
SystemResult RestoreSigusr1();

// The process that traces a thread of this one, 0 for none: TracerPid of /proc/self/task/*/status (a tracer attaches to
// threads, and /proc/self/status tells of the first one alone).
SystemResult TracerPid(int* pid);

}  // namespace upstreamproxy

#endif  // UPSTREAMPROXY_PROCESS_CONTROL_H_
