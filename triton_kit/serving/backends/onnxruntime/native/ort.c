#define _GNU_SOURCE
#include "ort.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  void *const *(*api)(uint32_t version);
  const char *(*version)(void);
} Base;

Ort ort;
const char *ort_version = "(not loaded)";
Env *ort_env;
Allocator *ort_allocator;
MemoryInfo *ort_cpu;

static const ElementType types[] = {
    [1] = {11, 4, "TYPE_FP32"},   [2] = {2, 1, "TYPE_UINT8"},   [3] = {6, 1, "TYPE_INT8"},
    [4] = {3, 2, "TYPE_UINT16"},  [5] = {7, 2, "TYPE_INT16"},   [6] = {8, 4, "TYPE_INT32"},
    [7] = {9, 8, "TYPE_INT64"},   [8] = {13, 0, "TYPE_STRING"}, [9] = {1, 1, "TYPE_BOOL"},
    [10] = {10, 2, "TYPE_FP16"},  [11] = {12, 8, "TYPE_FP64"},  [12] = {4, 4, "TYPE_UINT32"},
    [13] = {5, 8, "TYPE_UINT64"}, [16] = {14, 2, "TYPE_BF16"},
};

const ElementType *element_type_of(int ort_type) {
  if (ort_type < 0 || (size_t)ort_type >= sizeof types / sizeof *types) return NULL;
  return types[ort_type].name ? &types[ort_type] : NULL;
}

Error *ort_failed(Status *status, const char *format, ...) {
  if (!status) return NULL;
  va_list arguments;
  va_start(arguments, format);
  char *front = NULL;
  if (vasprintf(&front, format, arguments) < 0) front = NULL;
  va_end(arguments);
  Error *error = failed(ERROR_INVALID_ARG, "%s: %s", front ? front : "onnxruntime", ort.error_message(status));
  free(front);
  ort.release_status(status);
  return error;
}

Error *load_ort(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return failed(ERROR_UNAVAILABLE, "cannot load onnxruntime: %s", dlerror());
  const Base *(*base)(void);
  *(void **)&base = dlsym(library, "OrtGetApiBase");
  if (!base) return failed(ERROR_UNAVAILABLE, "%s is no onnxruntime: it has no OrtGetApiBase", path);
  ort_version = base()->version();
  void *const *table = base()->api(ORT_API_VERSION);
  if (!table)
    return failed(ERROR_UNAVAILABLE, "onnxruntime %s has no C API of version %d: install 1.16 or newer", ort_version,
                  ORT_API_VERSION);
#define FILL(place, result, name, arguments) memcpy(&ort.name, &table[place], sizeof ort.name);
  ORT_FUNCTIONS(FILL)
#undef FILL
  const char *build = ort.build_info();
  if (!build || !strstr(build, "ORT Build Info"))
    return failed(ERROR_UNAVAILABLE, "onnxruntime %s has another table of functions than expected", ort_version);
  ORT_CHECK(ort.create_env(ORT_LOG_WARNING, "triton-kit", &ort_env));
  ORT_CHECK(ort.default_allocator(&ort_allocator));
  ORT_CHECK(ort.create_cpu_memory_info(0, 0, &ort_cpu));
  return NULL;
}
