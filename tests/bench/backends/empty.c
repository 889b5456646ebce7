/* A backend that computes nothing: each response has the 4 zeros that a client expects. What it
 * serves is the most that any backend can serve on this server, with this client. */
#include "triton.h"

#include <string.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))
enum { OUTPUTS = 4 };

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void respond(Request *request) {
  const int64_t shape[] = {1, OUTPUTS};
  Response *response = NULL;
  Output *output = NULL;
  void *place = NULL;
  Memory memory = MEMORY_CPU;
  int64_t memory_id = 0;
  TRITONBACKEND_ResponseNew(&response, request);
  TRITONBACKEND_ResponseOutput(response, &output, "y", 11, shape, 2);
  TRITONBACKEND_OutputBuffer(output, &place, OUTPUTS * sizeof(float), &memory, &memory_id);
  memset(place, 0, OUTPUTS * sizeof(float));
  TRITONBACKEND_ResponseSend(response, RESPONSE_FINAL, NULL);
}

EXPORT Error *TRITONBACKEND_ModelInstanceExecute(Instance *instance, Request **requests, const uint32_t count) {
  const uint64_t start_ns = now_ns();
  for (uint32_t index = 0; index < count; index++) respond(requests[index]);
  const uint64_t end_ns = now_ns();
  for (uint32_t index = 0; index < count; index++) {
    TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[index], true, start_ns, start_ns, end_ns, end_ns);
    TRITONBACKEND_RequestRelease(requests[index], RELEASE_ALL);
  }
  TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, count, start_ns, start_ns, end_ns, end_ns);
  return NULL;
}
