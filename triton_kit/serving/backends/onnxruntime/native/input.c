/* Inputs of several requests joined into the values of one run. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { ALIGNED = 16, LEAST_ON_DEVICE_BYTES = 4096 };

/* The shape of the joined input; false where it is impossible. */
static bool joined_shape(const Source *source, size_t index, Part **parts, size_t count, bool batched, int64_t *shape,
                         size_t *axes) {
  const Piece *first = &parts[0]->pieces[index];
  if (source->is_ragged) {
    *axes = 1;
    shape[0] = 0;
    for (size_t part = 0; part < count; part++)
      if (__builtin_add_overflow(shape[0], parts[part]->pieces[index].elements, &shape[0])) return false;
    return true;
  }
  *axes = first->axes;
  if (first->axes) memcpy(shape, first->shape, first->axes * sizeof *shape);
  if (!batched) return true;
  shape[0] = 0;
  for (size_t part = 0; part < count; part++)
    if (__builtin_add_overflow(shape[0], parts[part]->rows, &shape[0])) return false;
  return true;
}

/* Where the only buffer of the only request can be used as it is, return it; else NULL. */
static const void *usable_buffer(const InstanceState *instance, const Piece *piece, Memory *memory) {
  const void *data = NULL;
  uint64_t bytes = 0;
  int64_t memory_id = 0;
  const bool has_gpu = instance->graph->device >= 0;
  *memory = has_gpu ? MEMORY_GPU : MEMORY_CPU;
  if (piece->buffers != 1) return NULL;
  Error *error = TRITONBACKEND_InputBuffer(piece->input, 0, &data, &bytes, memory, &memory_id);
  if (error) {
    TRITONSERVER_ErrorDelete(error);
    return NULL;
  }
  if (bytes != piece->bytes || !bytes || (uintptr_t)data % ALIGNED) return NULL;
  if (*memory == MEMORY_GPU) return has_gpu && memory_id == instance->graph->device ? data : NULL;
  return has_gpu && bytes > LEAST_ON_DEVICE_BYTES ? NULL : data;
}

/* Copy all buffers of an input to one place. On a GPU, what is on the CPU goes by way of
 * `staged`, pinned memory of the same size: one part is copied while the next is staged. */
static Error *copy_buffers(const InstanceState *instance, const Piece *piece, char *to, Memory to_memory, char *staged) {
  uint64_t used = 0;
  void *const stream = instance->graph->stream;
  for (uint32_t index = 0; index < piece->buffers; index++) {
    const void *data;
    uint64_t bytes;
    Memory memory = to_memory;
    int64_t memory_id = instance->graph->device >= 0 ? instance->graph->device : 0;
    CHECK(TRITONBACKEND_InputBuffer(piece->input, index, &data, &bytes, &memory, &memory_id));
    if (bytes > piece->bytes - used) return failed(ERROR_INVALID_ARG, "an input has more bytes than it tells");
    if (staged && memory == MEMORY_CPU && bytes) {
      memcpy(staged + used, data, bytes);
      data = staged + used;
      memory = MEMORY_PINNED;
    }
    CHECK(copy(to + used, to_memory, data, memory, bytes, stream));
    used += bytes;
  }
  if (used != piece->bytes) return failed(ERROR_INVALID_ARG, "an input has fewer bytes than it tells");
  return NULL;
}

/* Fill a batch up to its size with copies of its own rows: any model takes those. */
static Error *pad(const InstanceState *instance, char *to, Memory memory, uint64_t used, uint64_t padded) {
  while (used && used < padded) {
    const uint64_t bytes = used < padded - used ? used : padded - used;
    CHECK(copy(to + used, memory, to, memory, bytes, instance->graph->stream));
    used += bytes;
  }
  return NULL;
}

/* Join the bytes of all requests; `data` is where they are, in memory of kind `memory`. */
static Error *join_bytes(InstanceState *instance, size_t index, Part **parts, size_t count, bool may_be_on_device,
                         void **data, uint64_t *bytes, Memory *memory) {
  uint64_t total = 0, used = 0;
  const bool has_gpu = instance->graph->device >= 0;
  for (size_t part = 0; part < count; part++)
    if (__builtin_add_overflow(total, parts[part]->pieces[index].bytes, &total)) return out_of_memory(UINT64_MAX);
  uint64_t padded = total;
  if (instance->size && __builtin_mul_overflow(total / (uint64_t)instance->rows, (uint64_t)instance->size->rows, &padded))
    return out_of_memory(UINT64_MAX);
  Buffer *host = &instance->joined[index], *device = &instance->on_device[index];
  CHECK(reserve(host, has_gpu ? MEMORY_PINNED : MEMORY_CPU, padded));
  const bool on_device = has_gpu && may_be_on_device && (instance->results || padded > LEAST_ON_DEVICE_BYTES);
  if (on_device) CHECK(reserve(device, MEMORY_GPU, padded));
  char *to = on_device ? device->data : host->data;
  *memory = on_device ? MEMORY_GPU : host->memory;
  for (size_t part = 0; part < count; part++) {
    const Piece *piece = &parts[part]->pieces[index];
    CHECK(copy_buffers(instance, piece, to + used, *memory, on_device ? (char *)host->data + used : NULL));
    used += piece->bytes;
  }
  if (has_gpu && !on_device) CHECK(wait_for_copies(instance->graph->stream));
  CHECK(pad(instance, to, *memory, total, padded));
  *data = to;
  *bytes = padded;
  return NULL;
}

static Error *refuse_strings(const char *name) {
  return failed(ERROR_INVALID_ARG, "input '%s': its bytes are not one length and content per string", name);
}

/* Each string is its length, 4 bytes, little-endian, then its bytes. */
static Error *fill_strings(const char *name, Value *value, int64_t elements, const unsigned char *at, uint64_t left) {
  for (int64_t index = 0; index < elements; index++) {
    uint32_t length;
    char *place;
    if (left < sizeof length) return refuse_strings(name);
    memcpy(&length, at, sizeof length);
    at += sizeof length;
    left -= sizeof length;
    if (length > left) return refuse_strings(name);
    ORT_CHECK(ort.string_place(value, (size_t)index, length, &place));
    if (length) memcpy(place, at, length);
    at += length;
    left -= length;
  }
  return left ? refuse_strings(name) : NULL;
}

static Error *join_strings(InstanceState *instance, size_t index, Part **parts, size_t count, const int64_t *shape,
                           size_t axes, Value **value) {
  const Tensor *tensor = &instance->graph->sources[index].tensor;
  void *data;
  uint64_t bytes;
  Memory memory;
  int64_t elements;
  if (!count_elements(shape, axes, &elements)) return refuse_strings(tensor->name);
  CHECK(join_bytes(instance, index, parts, count, false, &data, &bytes, &memory));
  ORT_CHECK(ort.create_tensor(ort_allocator, shape, axes, ORT_STRING, value));
  return fill_strings(tensor->name, *value, elements, data, bytes);
}

Error *join_input(InstanceState *instance, size_t index, Part **parts, size_t count, Value **value) {
  const Source *source = &instance->graph->sources[index];
  const bool batched = instance->model->max_batch_size > 0;
  int64_t shape[MOST_AXES];
  size_t axes = 0;
  if (!joined_shape(source, index, parts, count, batched, shape, &axes))
    return failed(ERROR_INVALID_ARG, "input '%s' has an impossible shape", source->tensor.name);
  if (source->tensor.type == ORT_STRING) return join_strings(instance, index, parts, count, shape, axes, value);
  const bool is_padded = instance->size && instance->size->rows != instance->rows;
  if (is_padded) shape[0] = instance->size->rows;
  Memory memory = MEMORY_CPU;
  const Piece *only = &parts[0]->pieces[index];
  const bool may_stay = count == 1 && !is_padded && !instance->results;
  void *data = may_stay ? (void *)usable_buffer(instance, only, &memory) : NULL;
  uint64_t bytes = only->bytes;
  if (!data) CHECK(join_bytes(instance, index, parts, count, true, &data, &bytes, &memory));
  const MemoryInfo *info = memory == MEMORY_GPU ? instance->gpu_memory : ort_cpu;
  ORT_CHECK(ort.wrap_tensor(info, data, bytes, shape, axes, source->tensor.type, value));
  return NULL;
}
