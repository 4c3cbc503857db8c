// The least that a test needs: a condition that holds, or the end with its text and place.
#ifndef UPSTREAMPROXY_TEST_CHECK_H_
#define UPSTREAMPROXY_TEST_CHECK_H_

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                         \
  do {                                                                           \
    if (!(condition)) {                                                          \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                   \
    }                                                                            \
  } while (false)

#endif  // UPSTREAMPROXY_TEST_CHECK_H_
