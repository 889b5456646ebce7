/* The calls of the CUDA runtime that the kit uses, on the memory of the process:
   a "GPU" of 1 MiB. A handle holds the address; the test reads there. */
#include <stdlib.h>
#include <string.h>

static size_t left = 1 << 20;
static int freed = 0;

const char *cudaGetErrorString(int code) {
  return code == 100 ? "no CUDA-capable device is detected" : "out of memory";
}
int cudaGetDeviceCount(int *count) {
  *count = 1;
  return getenv("NO_GPU") ? 100 : 0;
}
int cudaSetDevice(int device) { return device == 0 ? 0 : 101; }
int cudaMalloc(void **address, size_t size) {
  if (size > left) return 2;
  left -= size;
  *address = malloc(size);
  return 0;
}
int cudaFree(void *address) {
  free(address);
  freed += 1;
  return 0;
}
int cudaMemcpy(void *to, const void *from, size_t size, int kind) {
  if (kind != 1) return 21;
  memcpy(to, from, size);
  return 0;
}
int cudaDeviceSynchronize(void) { return 0; }
int cudaIpcGetMemHandle(char *handle, void *address) {
  memset(handle, 0xAB, 64);
  memcpy(handle, &address, sizeof address);
  return 0;
}
int standInFreed(void) { return freed; }
