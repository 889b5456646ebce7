/* A Triton backend in C for the model of `target.py`: onnxruntime, and nothing around it.
 *
 * The embedded server's own `onnxruntime` backend runs in Python, which takes most of what
 * a small model costs; the one of Triton's containers is compiled. With this one, what is
 * measured is the load generators on a server that costs as little as that. It knows one
 * kind of model: FP32 "x" of shape (batch, any) to FP32 "y" of shape (batch, OUTPUT_WIDTH).
 *
 * Given by the compiler's command line: ORT_LIBRARY (a path) and OUTPUT_WIDTH. Both
 * interfaces are used by declarations of what is needed from them: Triton's
 * tritonbackend.h, and the places in onnxruntime's table, which only ever grows.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONBACKEND_Model Model;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_Output Output;
enum { INTERNAL = 1, FP32 = 11, FINAL = 1, RELEASE_ALL = 1 };

Error *TRITONSERVER_ErrorNew(int code, const char *message);
Error *TRITONBACKEND_ModelRepository(Model *, int *kind, const char **location);
Error *TRITONBACKEND_ModelSetState(Model *, void *);
Error *TRITONBACKEND_ModelState(Model *, void **);
Error *TRITONBACKEND_ModelInstanceModel(Instance *, Model **);
Error *TRITONBACKEND_RequestInputByIndex(Request *, uint32_t, Input **);
Error *TRITONBACKEND_InputProperties(Input *, const char **name, int *type, const int64_t **shape,
                                     uint32_t *axes, uint64_t *bytes, uint32_t *buffers);
Error *TRITONBACKEND_InputBuffer(Input *, uint32_t index, const void **, uint64_t *bytes,
                                 int *memory, int64_t *memory_id);
Error *TRITONBACKEND_ResponseNew(Response **, Request *);
Error *TRITONBACKEND_ResponseOutput(Response *, Output **, const char *name, int type,
                                    const int64_t *shape, uint32_t axes);
Error *TRITONBACKEND_OutputBuffer(Output *, void **, uint64_t bytes, int *memory, int64_t *memory_id);
Error *TRITONBACKEND_ResponseSend(Response *, uint32_t flags, Error *);
Error *TRITONBACKEND_RequestRelease(Request *, uint32_t flags);
Error *TRITONBACKEND_ModelInstanceReportStatistics(Instance *, Request *, bool good, uint64_t start_ns,
                                                   uint64_t compute_ns, uint64_t computed_ns,
                                                   uint64_t end_ns);
Error *TRITONBACKEND_ModelInstanceReportBatchStatistics(Instance *, uint64_t batch, uint64_t start_ns,
                                                        uint64_t compute_ns, uint64_t computed_ns,
                                                        uint64_t end_ns);

/* Places in OrtApi (onnxruntime_c_api.h). */
enum {
  ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION = 7, RUN = 9, CREATE_OPTIONS = 10,
  SET_THREADS = 24, TENSOR_OF = 49, DATA_OF = 51, CPU_MEMORY = 69, RELEASE_VALUE = 96
};
enum { ORT_API_VERSION = 17, ORT_FLOAT = 1, ORT_WARNING = 2 };
typedef struct {
  void **(*api)(uint32_t version);
  const char *(*version)(void);
} OrtBase;

static void **ort;
static void *env, *options, *cpu;

#define CALL(place, ...) ((void *(*)(__VA_ARGS__))ort[place])
#define TRY(status)                                                                            \
  do {                                                                                         \
    void *problem = (status);                                                                  \
    if (problem)                                                                               \
      return TRITONSERVER_ErrorNew(INTERNAL, ((const char *(*)(void *))ort[ERROR_MESSAGE])(problem)); \
  } while (0)
#define CHECK(call)              \
  do {                           \
    Error *error = (call);       \
    if (error) return error;     \
  } while (0)

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000ull + time.tv_nsec;
}

static Error *load_onnxruntime(void) {
  void *library = dlopen(ORT_LIBRARY, RTLD_NOW | RTLD_LOCAL);
  if (!library) return TRITONSERVER_ErrorNew(INTERNAL, dlerror());
  const OrtBase *(*base)(void) = (const OrtBase *(*)(void))dlsym(library, "OrtGetApiBase");
  if (!base) return TRITONSERVER_ErrorNew(INTERNAL, dlerror());
  ort = base()->api(ORT_API_VERSION);
  TRY(CALL(CREATE_ENV, int, const char *, void **)(ORT_WARNING, "bench", &env));
  TRY(CALL(CREATE_OPTIONS, void **)(&options));
  TRY(CALL(SET_THREADS, void *, int)(options, 1));
  TRY(CALL(CPU_MEMORY, int, int, void **)(0, 0, &cpu));
  return NULL;
}

Error *TRITONBACKEND_ModelInitialize(Model *model) {
  int kind;
  const char *location;
  char path[4096];
  void *session;
  if (!ort) CHECK(load_onnxruntime());
  CHECK(TRITONBACKEND_ModelRepository(model, &kind, &location));
  snprintf(path, sizeof path, "%s/1/model.onnx", location);
  TRY(CALL(CREATE_SESSION, void *, const char *, void *, void **)(env, path, options, &session));
  return TRITONBACKEND_ModelSetState(model, session);
}

/* Put the rows of a request behind those before it, and say how many and how wide they are. */
static Error *gather(Request *request, char **joined, uint64_t *used, int64_t *rows, int64_t *width) {
  Input *input;
  const char *name;
  const int64_t *shape;
  int type;
  uint32_t axes, buffers;
  uint64_t bytes;
  CHECK(TRITONBACKEND_RequestInputByIndex(request, 0, &input));
  CHECK(TRITONBACKEND_InputProperties(input, &name, &type, &shape, &axes, &bytes, &buffers));
  *rows = shape[0];
  *width = shape[1];
  *joined = realloc(*joined, *used + bytes);
  for (uint32_t index = 0; index < buffers; index++) {
    const void *part;
    uint64_t size;
    int memory = 0;
    int64_t memory_id = 0;
    CHECK(TRITONBACKEND_InputBuffer(input, index, &part, &size, &memory, &memory_id));
    memcpy(*joined + *used, part, size);
    *used += size;
  }
  return NULL;
}

static Error *run(void *session, void *joined, uint64_t bytes, int64_t rows, int64_t width, void **result) {
  const char *const inputs[] = {"x"}, *const outputs[] = {"y"};
  const int64_t shape[] = {rows, width};
  void *source;
  TRY(CALL(TENSOR_OF, void *, void *, size_t, const int64_t *, size_t, int, void **)(
      cpu, joined, bytes, shape, 2, ORT_FLOAT, &source));
  void *failed = CALL(RUN, void *, void *, const char *const *, void *const *, size_t,
                      const char *const *, size_t, void **)(
      session, NULL, inputs, (void *const[]){source}, 1, outputs, 1, result);
  CALL(RELEASE_VALUE, void *)(source);
  TRY(failed);
  return NULL;
}

static Error *answer(Request *request, const float *values, int64_t rows) {
  const int64_t shape[] = {rows, OUTPUT_WIDTH};
  const uint64_t bytes = rows * OUTPUT_WIDTH * sizeof *values;
  Response *response;
  Output *output;
  void *place;
  int memory = 0;
  int64_t memory_id = 0;
  CHECK(TRITONBACKEND_ResponseNew(&response, request));
  CHECK(TRITONBACKEND_ResponseOutput(response, &output, "y", FP32, shape, 2));
  CHECK(TRITONBACKEND_OutputBuffer(output, &place, bytes, &memory, &memory_id));
  memcpy(place, values, bytes);
  return TRITONBACKEND_ResponseSend(response, FINAL, NULL);
}

/* An error ends the batch; Triton tells its requests. */
Error *TRITONBACKEND_ModelInstanceExecute(Instance *instance, Request **requests, uint32_t count) {
  const uint64_t start_ns = now_ns();
  int64_t rows[count], width = 0, total = 0;
  uint64_t used = 0;
  char *joined = NULL;
  Model *model;
  void *session, *result = NULL, *values;
  CHECK(TRITONBACKEND_ModelInstanceModel(instance, &model));
  CHECK(TRITONBACKEND_ModelState(model, &session));
  for (uint32_t index = 0; index < count; index++) {
    CHECK(gather(requests[index], &joined, &used, &rows[index], &width));
    total += rows[index];
  }
  const uint64_t compute_ns = now_ns();
  CHECK(run(session, joined, used, total, width, &result));
  const uint64_t computed_ns = now_ns();
  TRY(CALL(DATA_OF, void *, void **)(result, &values));
  const float *row = values;
  for (uint32_t index = 0; index < count; index++) {
    CHECK(answer(requests[index], row, rows[index]));
    row += rows[index] * OUTPUT_WIDTH;
  }
  CALL(RELEASE_VALUE, void *)(result);
  free(joined);
  const uint64_t end_ns = now_ns();
  for (uint32_t index = 0; index < count; index++) {
    CHECK(TRITONBACKEND_ModelInstanceReportStatistics(instance, requests[index], true, start_ns,
                                                      compute_ns, computed_ns, end_ns));
    CHECK(TRITONBACKEND_RequestRelease(requests[index], RELEASE_ALL));
  }
  return TRITONBACKEND_ModelInstanceReportBatchStatistics(instance, total, start_ns, compute_ns,
                                                          computed_ns, end_ns);
}
