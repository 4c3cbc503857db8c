// What a tunnel is for, told by the host that its CONNECT names:
//   up-BYTES-SEED.test             the gateway takes BYTES and answers K, or X where one of them was not right
//   down-BYTES-SEED-CHUNK.test     after the client's first byte the gateway sends BYTES, CHUNK of them a message
//   both-BYTES-SEED-CHUNK.test     both at once (the client's bytes start the gateway's)
//   echo.test                      what comes goes back
#pragma once
#include <stdio.h>
#include <string.h>
#include <cstdint>
#include <string>

namespace bench {

struct Job {
  bool sink = false;
  bool source = false;
  bool echo = false;
  uint64_t bytes = 0;
  uint64_t seed = 0;
  uint64_t chunk = 64 * 1024;
};

inline bool parseJob(const char* host, Job* job) {
  unsigned long long bytes = 0, seed = 0, chunk = 64 * 1024;
  if (sscanf(host, "up-%llu-%llu", &bytes, &seed) == 2) {
    job->sink = true;
  } else if (sscanf(host, "down-%llu-%llu-%llu", &bytes, &seed, &chunk) == 3) {
    job->source = true;
  } else if (sscanf(host, "both-%llu-%llu-%llu", &bytes, &seed, &chunk) == 3) {
    job->sink = job->source = true;
  } else if (strncmp(host, "echo.", 5) == 0) {
    job->echo = true;
  } else {
    return false;
  }
  job->bytes = bytes;
  job->seed = seed;
  job->chunk = chunk;
  return chunk > 0 && chunk <= 512 * 1024;
}

// The other direction's bytes have a seed of their own.
inline uint64_t downSeed(uint64_t seed) { return seed + 1000003; }

inline std::string hostOf(const char* kind, uint64_t bytes, uint64_t seed, uint64_t chunk) {
  if (strcmp(kind, "echo") == 0) return "echo.test";
  std::string host = std::string(kind) + "-" + std::to_string(bytes) + "-" + std::to_string(seed);
  if (strcmp(kind, "up") != 0) host += "-" + std::to_string(chunk);
  return host + ".test";
}

}  // namespace bench
