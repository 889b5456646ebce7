#include "device.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64, CUDA_NON_BLOCKING = 1 };

/* CUDA's driver interface, whose names and versions never change once released. */
static struct {
  int (*init)(unsigned flags);
  int (*error_name)(int, const char **);
  int (*device)(int *, int ordinal);
  int (*retain_context)(void **, int device);
  int (*set_context)(void *);
  int (*create_stream)(void **, unsigned flags);
  int (*destroy_stream)(void *);
  int (*wait_for_stream)(void *);
  int (*copy)(uintptr_t to, uintptr_t from, size_t bytes, void *stream);
  int (*allocate)(uintptr_t *, size_t bytes);
  int (*release)(uintptr_t);
  int (*allocate_pinned)(void **, size_t bytes, unsigned flags);
  int (*release_pinned)(void *);
} cuda;

enum { MOST_DEVICES = 64 };
static pthread_once_t opened = PTHREAD_ONCE_INIT;
static const char *cannot_open;
static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;
static void *contexts[MOST_DEVICES];

static void open_driver(void) {
  const struct {
    const char *name;
    void *place;
  } functions[] = {
      {"cuInit", &cuda.init},
      {"cuGetErrorName", &cuda.error_name},
      {"cuDeviceGet", &cuda.device},
      {"cuDevicePrimaryCtxRetain", &cuda.retain_context},
      {"cuCtxSetCurrent", &cuda.set_context},
      {"cuStreamCreate", &cuda.create_stream},
      {"cuStreamDestroy_v2", &cuda.destroy_stream},
      {"cuStreamSynchronize", &cuda.wait_for_stream},
      {"cuMemcpyAsync", &cuda.copy},
      {"cuMemAlloc_v2", &cuda.allocate},
      {"cuMemFree_v2", &cuda.release},
      {"cuMemHostAlloc", &cuda.allocate_pinned},
      {"cuMemFreeHost", &cuda.release_pinned},
  };
  void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    cannot_open = "this machine has no CUDA driver (libcuda.so.1)";
    return;
  }
  for (size_t index = 0; index < sizeof functions / sizeof *functions; index++) {
    void *function = dlsym(library, functions[index].name);
    if (!function) {
      cannot_open = "the CUDA driver is too old";
      return;
    }
    memcpy(functions[index].place, &function, sizeof function);
  }
  if (cuda.init(0)) cannot_open = "the CUDA driver finds no GPU";
}

static Error *cuda_failed(int result, const char *what) {
  if (!result) return NULL;
  const char *name = NULL;
  if (cuda.error_name(result, &name)) name = NULL;
  return failed(ERROR_UNAVAILABLE, "CUDA: %s failed: %s (%d)", what, name ? name : "unknown error", result);
}

Error *enter_device(int32_t device) {
  pthread_once(&opened, open_driver);
  if (cannot_open) return failed(ERROR_UNAVAILABLE, "%s", cannot_open);
  if (device < 0 || device >= MOST_DEVICES) return failed(ERROR_INVALID_ARG, "there is no GPU %d", device);
  pthread_mutex_lock(&contexts_lock);
  Error *error = NULL;
  if (!contexts[device]) {
    int handle = 0;
    error = cuda_failed(cuda.device(&handle, device), "finding the GPU");
    if (!error) error = cuda_failed(cuda.retain_context(&contexts[device], handle), "opening the GPU");
  }
  void *context = contexts[device];
  pthread_mutex_unlock(&contexts_lock);
  return error ? error : cuda_failed(cuda.set_context(context), "entering the GPU");
}

Error *open_stream(int32_t device, void **stream) {
  CHECK(enter_device(device));
  return cuda_failed(cuda.create_stream(stream, CUDA_NON_BLOCKING), "making a stream");
}

void close_stream(int32_t device, void *stream) {
  if (!stream) return;
  DROP(enter_device(device));
  cuda.destroy_stream(stream);
}

static Error *allocate(Buffer *buffer, Memory memory, uint64_t bytes) {
  uintptr_t place = 0;
  int result;
  if (memory == MEMORY_GPU) {
    result = cuda.allocate(&place, bytes);
    buffer->data = (void *)place;
  } else if (memory == MEMORY_PINNED) {
    result = cuda.allocate_pinned(&buffer->data, bytes, 0);
  } else {
    result = posix_memalign(&buffer->data, ALIGNMENT, bytes);
  }
  if (result) {
    buffer->data = NULL;
    return memory == MEMORY_CPU ? out_of_memory(bytes) : cuda_failed(result, "allocating memory");
  }
  buffer->bytes = bytes;
  buffer->memory = memory;
  return NULL;
}

Error *reserve(Buffer *buffer, Memory memory, uint64_t bytes) {
  if (buffer->data && buffer->bytes >= bytes && buffer->memory == memory) return NULL;
  /* Sizes go up in steps, lest every new batch size costs an allocation. */
  uint64_t size = 4096;
  while (size < bytes && size < UINT64_MAX / 2) size += size / 2;
  release_buffer(buffer);
  return allocate(buffer, memory, size);
}

void release_buffer(Buffer *buffer) {
  if (!buffer->data) return;
  if (buffer->memory == MEMORY_GPU)
    cuda.release((uintptr_t)buffer->data);
  else if (buffer->memory == MEMORY_PINNED)
    cuda.release_pinned(buffer->data);
  else
    free(buffer->data);
  *buffer = (Buffer){0};
}

Error *copy(void *to, Memory to_memory, const void *from, Memory from_memory, uint64_t bytes, void *stream) {
  if (!bytes) return NULL;
  if (to_memory != MEMORY_GPU && from_memory != MEMORY_GPU) {
    memcpy(to, from, bytes);
    return NULL;
  }
  if (!stream) return failed(ERROR_INVALID_ARG, "a model on the CPU cannot read or write the memory of a GPU");
  return cuda_failed(cuda.copy((uintptr_t)to, (uintptr_t)from, bytes, stream), "copying");
}

Error *wait_for_copies(void *stream) {
  return stream ? cuda_failed(cuda.wait_for_stream(stream), "waiting for copies") : NULL;
}
