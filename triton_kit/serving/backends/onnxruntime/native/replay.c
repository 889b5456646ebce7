/* Runs on a GPU that are recorded once and replayed from then on: CUDA graphs.
 *
 * A replay launches all kernels of a run at once. ONNX Runtime records the first run of a
 * session and replays it with the addresses of that run, in the thread that ran it. So
 * inputs and outputs have places that never move, which all sizes share: an instance runs
 * one batch at a time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

static pthread_once_t made = PTHREAD_ONCE_INIT;
static pthread_rwlock_t devices;

/* Else a recording would wait for as long as two other instances are busy. */
static void make_lock(void) {
  pthread_rwlockattr_t attributes;
  pthread_rwlockattr_init(&attributes);
  pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  pthread_rwlock_init(&devices, &attributes);
  pthread_rwlockattr_destroy(&attributes);
}

/* CUDA refuses to record while any thread allocates or frees memory, or waits for a device. */
void lock_devices(bool records) {
  pthread_once(&made, make_lock);
  if (records)
    pthread_rwlock_wrlock(&devices);
  else
    pthread_rwlock_rdlock(&devices);
}

void unlock_devices(void) { pthread_rwlock_unlock(&devices); }

bool wants_replays(const Json *config) {
  return json_is_true(json_get(json_get(json_get(config, "optimization"), "cuda"), "graphs"));
}

/* The shape of a tensor for a number of rows; its bytes. */
static Error *sized_shape(const InstanceState *instance, const Tensor *tensor, int64_t rows, int64_t *shape,
                          uint64_t *bytes) {
  const bool batched = instance->model->max_batch_size > 0;
  const ElementType *type = element_type_of(tensor->type);
  int64_t elements = 0;
  memcpy(shape, tensor->shape, sizeof tensor->shape);
  if (batched && tensor->axes) shape[0] = rows;
  bool is_fixed = type && type->bytes && (tensor->axes || !batched);
  for (size_t axis = 0; axis < tensor->axes; axis++) is_fixed &= shape[axis] >= 0;
  if (!is_fixed || !count_elements(shape, tensor->axes, &elements)) {
    Text text = {0};
    add_shape(&text, tensor->shape, tensor->axes);
    Error *error = failed(ERROR_INVALID_ARG,
                          "optimization.cuda.graphs needs tensors of numbers whose axes, but for the batch, are fixed "
                          "in the graph: '%s' has shape %s",
                          tensor->name, text.content ? text.content : "");
    free(text.content);
    return error;
  }
  *bytes = (uint64_t)elements * type->bytes;
  return NULL;
}

typedef Status *(*Bind)(Binding *, const char *name, const Value *);

/* Bind a tensor of a size to its place, of which no more is kept: the binding holds the value. */
static Error *bind(const InstanceState *instance, const Sized *size, const Tensor *tensor, Buffer *place, Bind bind_to) {
  int64_t shape[MOST_AXES];
  uint64_t bytes;
  Value *value = NULL;
  CHECK(sized_shape(instance, tensor, size->rows, shape, &bytes));
  ORT_CHECK(ort.wrap_tensor(instance->gpu_memory, place->data, bytes, shape, tensor->axes, tensor->type, &value));
  Error *error = ort_failed(bind_to(size->binding, tensor->name, value), "onnxruntime");
  ort.release_value(value);
  return error;
}

static Error *reserve_largest(const InstanceState *instance, const Tensor *tensor, Buffer *place) {
  int64_t shape[MOST_AXES];
  uint64_t bytes;
  CHECK(sized_shape(instance, tensor, instance->sizes[instance->size_count - 1].rows, shape, &bytes));
  return reserve(place, MEMORY_GPU, bytes);
}

static Error *check_tensors(const InstanceState *instance) {
  const Graph *graph = instance->graph;
  int64_t shape[MOST_AXES];
  uint64_t bytes;
  for (size_t index = 0; index < graph->result_count; index++)
    CHECK(sized_shape(instance, &graph->results[index].tensor, 1, shape, &bytes));
  for (size_t index = 0; index < graph->source_count; index++) {
    const Source *source = &graph->sources[index];
    if (source->made || source->is_ragged || source->is_optional)
      return failed(ERROR_INVALID_ARG, "optimization.cuda.graphs and input '%s' (ragged, made or optional) do not go "
                    "together", source->tensor.name);
    CHECK(sized_shape(instance, &source->tensor, 1, shape, &bytes));
  }
  return NULL;
}

Error *open_replays(InstanceState *instance) {
  const Graph *graph = instance->graph;
  CHECK(check_tensors(instance));
  if (!instance->size_count)
    return failed(ERROR_INVALID_ARG, "optimization.cuda.graphs needs a list of batch sizes: cuda_batch_sizes is off");
  instance->fetched = calloc(graph->result_count + 1, sizeof *instance->fetched);
  instance->results = calloc(graph->result_count + 1, sizeof *instance->results);
  if (!instance->results || !instance->fetched) return out_of_memory(graph->result_count);
  for (size_t index = 0; index < graph->source_count; index++)
    CHECK(reserve_largest(instance, &graph->sources[index].tensor, &instance->on_device[index]));
  for (size_t index = 0; index < graph->result_count; index++)
    CHECK(reserve_largest(instance, &graph->results[index].tensor, &instance->results[index]));
  for (size_t each = 0; each < instance->size_count; each++) {
    const Sized *size = &instance->sizes[each];
    for (size_t index = 0; index < graph->source_count; index++)
      CHECK(bind(instance, size, &graph->sources[index].tensor, &instance->on_device[index], ort.bind_input));
    for (size_t index = 0; index < graph->result_count; index++)
      CHECK(bind(instance, size, &graph->results[index].tensor, &instance->results[index], ort.bind_output));
  }
  return NULL;
}

void close_replays(InstanceState *instance) {
  for (size_t index = 0; instance->results && index < instance->graph->result_count; index++)
    release_buffer(&instance->results[index]);
  for (size_t index = 0; instance->fetched && index < instance->graph->result_count; index++)
    release_buffer(&instance->fetched[index]);
  free(instance->results);
  free(instance->fetched);
}

/* Make the value of an output where it is, or in memory of the CPU. */
static Error *take_output(InstanceState *instance, size_t result, bool on_device, Value **value) {
  const Tensor *tensor = &instance->graph->results[result].tensor;
  const Buffer *place = &instance->results[result];
  int64_t shape[MOST_AXES];
  uint64_t bytes;
  CHECK(sized_shape(instance, tensor, instance->size->rows, shape, &bytes));
  if (!on_device) {
    Buffer *host = &instance->fetched[result];
    CHECK(reserve(host, MEMORY_PINNED, bytes));
    CHECK(copy(host->data, MEMORY_PINNED, place->data, MEMORY_GPU, bytes, instance->graph->stream));
    place = host;
  }
  const MemoryInfo *memory = on_device ? instance->gpu_memory : ort_cpu;
  ORT_CHECK(ort.wrap_tensor(memory, place->data, bytes, shape, tensor->axes, tensor->type, value));
  return NULL;
}

Error *run_replay(InstanceState *instance, size_t outputs, const bool *on_device) {
  Sized *size = instance->size;
  if (!size) return failed(ERROR_INVALID_ARG, "an empty batch cannot be run with optimization.cuda.graphs");
  Error *error = ort_failed(ort.run_bound(size->session, NULL, size->binding), "onnxruntime");
  if (error && !size->is_recorded) {
    /* Another user of the GPU, such as a client's shared memory, may have spoilt the recording. */
    TRITONSERVER_ErrorDelete(error);
    error = ort_failed(ort.run_bound(size->session, NULL, size->binding), "onnxruntime");
  }
  if (error) return error;
  size->is_recorded = true;
  for (size_t index = 0; index < outputs; index++)
    CHECK(take_output(instance, instance->output_places[index], on_device[index], &instance->output_values[index]));
  return wait_for_copies(instance->graph->stream);
}
