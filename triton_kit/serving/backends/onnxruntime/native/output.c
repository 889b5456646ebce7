/* Outputs of one run split into the responses and states of its requests. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* The elements of an output, one after the other, in the form that Triton has them in. */
typedef struct {
  const char *data;
  Memory memory;
  int64_t elements;
  uint32_t element_bytes;
  size_t *ends; /* of strings, by element, in `data`; NULL for other types */
  char *owned;  /* what to free */
} Content;

static uint64_t place_of(const Content *content, int64_t element) {
  if (!content->ends) return (uint64_t)element * content->element_bytes;
  return element ? content->ends[element - 1] : 0;
}

/* Write each string as its length, 4 bytes, then its bytes. */
static Error *serialise(Value *value, Content *content) {
  const size_t count = (size_t)content->elements;
  size_t bytes = 0;
  ORT_CHECK(ort.string_bytes(value, &bytes));
  char *texts = malloc(bytes + 1);
  content->ends = calloc(count + 1, sizeof *content->ends);
  content->owned = malloc(bytes + count * sizeof(uint32_t) + 1);
  Error *error = NULL;
  if (!texts || !content->ends || !content->owned)
    error = out_of_memory(2 * bytes);
  else if (count)
    error = ort_failed(ort.strings(value, texts, bytes, content->ends, count), "onnxruntime");
  char *to = content->owned;
  for (size_t index = 0; index < count && !error; index++) {
    const size_t begin = content->ends[index], end = index + 1 < count ? content->ends[index + 1] : bytes;
    const uint32_t length = (uint32_t)(end - begin);
    memcpy(to, &length, sizeof length);
    memcpy(to + sizeof length, texts + begin, length);
    to += sizeof length + length;
    content->ends[index] = (size_t)(to - content->owned);
  }
  content->data = content->owned;
  free(texts);
  return error;
}

static Error *read_content(const Tensor *tensor, Value *value, Content *content, int64_t *shape, size_t *axes) {
  ShapeInfo *info;
  int is_tensor = 0, type = 0;
  ORT_CHECK(ort.is_tensor(value, &is_tensor));
  if (!is_tensor) return failed(ERROR_INVALID_ARG, "output '%s' is no tensor", tensor->name);
  ORT_CHECK(ort.shape_info(value, &info));
  Status *status = ort.axes(info, axes);
  if (!status) status = ort.element_type(info, &type);
  if (!status && *axes <= MOST_AXES) status = ort.shape(info, shape, *axes);
  ort.release_shape(info);
  ORT_CHECK(status);
  if (*axes > MOST_AXES || type != tensor->type || !count_elements(shape, *axes, &content->elements))
    return failed(ERROR_INVALID_ARG, "output '%s' has another type or an impossible shape", tensor->name);
  content->element_bytes = element_type_of(type)->bytes;
  if (type == ORT_STRING) {
    content->memory = MEMORY_CPU;
    return serialise(value, content);
  }
  void *data;
  ORT_CHECK(ort.tensor_data(value, &data));
  content->data = data;
  return NULL;
}

static Error *fill_response(InstanceState *instance, const Result *result, Part *part, const int64_t *shape,
                            size_t axes, const Content *content, uint64_t begin, uint64_t bytes) {
  Output *output;
  void *to;
  Memory memory = content->memory;
  int64_t memory_id = memory == MEMORY_GPU ? instance->graph->device : 0;
  const int type = element_type_of(result->tensor.type)->triton;
  if (!part->response) CHECK(TRITONBACKEND_ResponseNew(&part->response, part->request));
  CHECK(TRITONBACKEND_ResponseOutput(part->response, &output, result->tensor.name, type, shape, (uint32_t)axes));
  CHECK(TRITONBACKEND_OutputBuffer(output, &to, bytes, &memory, &memory_id));
  return copy(to, memory, content->data + begin, content->memory, bytes, instance->graph->stream);
}

static Error *fill_state(InstanceState *instance, const Result *result, State **state, Request *request,
                         const int64_t *shape, size_t axes, const Content *content, uint64_t begin, uint64_t bytes) {
  void *to;
  Memory memory = content->memory;
  int64_t memory_id = memory == MEMORY_GPU ? instance->graph->device : 0;
  const int type = element_type_of(result->tensor.type)->triton;
  CHECK(TRITONBACKEND_StateNew(state, request, result->tensor.name, type, shape, (uint32_t)axes));
  CHECK(TRITONBACKEND_StateBuffer(*state, &to, bytes, &memory, &memory_id));
  return copy(to, memory, content->data + begin, content->memory, bytes, instance->graph->stream);
}

/* The shape of one request's share. */
static void share_shape(const InstanceState *instance, const Result *result, const Part *part, int64_t *shape,
                        size_t *axes) {
  if (result->is_scattered) {
    const Piece *piece = &part->pieces[result->scattered_by];
    *axes = result->told_axes;
    for (size_t axis = 0; axis < *axes; axis++)
      shape[axis] = result->told[axis] != -1 ? result->told[axis] : axis < piece->axes ? piece->shape[axis] : 1;
  } else if (result->is_scalar) {
    *axes = result->told_axes;
    memcpy(shape, result->told, sizeof result->told);
  } else if (instance->model->max_batch_size > 0) {
    shape[0] = part->rows;
  }
}

/* Refuse an output that cannot be split into the shares of the requests. */
static Error *check_shares(const InstanceState *instance, const Result *result, Part **parts, size_t count,
                           const int64_t *shape, size_t axes, int64_t elements) {
  int64_t total = 0, share, share_axes[MOST_AXES];
  const bool batched = instance->model->max_batch_size > 0;
  for (size_t part = 0; part < count; part++) {
    if (!result->is_scattered) {
      total += parts[part]->rows;
      continue;
    }
    size_t ignored = axes;
    share_shape(instance, result, parts[part], share_axes, &ignored);
    if (!count_elements(share_axes, ignored, &share) || __builtin_add_overflow(total, share, &total)) total = -1;
    if (total < 0) break;
  }
  if (result->is_scattered && total != elements)
    return failed(ERROR_INVALID_ARG, "output '%s' has %lld elements, but batch_output splits it into %lld",
                  result->tensor.name, (long long)elements, (long long)total);
  if (result->is_scattered || !batched || (axes && shape[0] == total)) return NULL;
  Text text = {0};
  add_shape(&text, shape, axes);
  Error *error = failed(ERROR_INVALID_ARG,
                        "output '%s' has shape %s: its first axis is not the batch of %lld; max_batch_size must be 0",
                        result->tensor.name, text.content ? text.content : "", (long long)total);
  free(text.content);
  return error;
}

static Error *share_out(InstanceState *instance, size_t index, const Content *content, Part **parts, size_t count,
                        int64_t *shape, size_t axes) {
  const Result *result = &instance->graph->results[index];
  int64_t first = 0, elements;
  CHECK(check_shares(instance, result, parts, count, shape, axes, content->elements));
  for (size_t at = 0; at < count; at++) {
    Part *part = parts[at];
    share_shape(instance, result, part, shape, &axes);
    if (!count_elements(shape, axes, &elements) || elements > content->elements - first)
      return failed(ERROR_INVALID_ARG, "output '%s' cannot be split", result->tensor.name);
    const uint64_t begin = place_of(content, first), bytes = place_of(content, first + elements) - begin;
    first += elements;
    if (part->wants[index] && !part->error)
      part->error = fill_response(instance, result, part, shape, axes, content, begin, bytes);
    if (result->is_state && !part->error)
      part->error = fill_state(instance, result, &part->states[index], part->request, shape, axes, content, begin,
                               bytes);
  }
  return NULL;
}

Error *split_output(InstanceState *instance, size_t index, Value *value, Memory memory, Part **parts, size_t count) {
  int64_t shape[MOST_AXES];
  size_t axes = 0;
  Content content = {.memory = memory};
  Error *error = read_content(&instance->graph->results[index].tensor, value, &content, shape, &axes);
  if (instance->size && axes && shape[0] == instance->size->rows) { /* leave the padding out */
    content.elements = content.elements / shape[0] * instance->rows;
    shape[0] = instance->rows;
  }
  if (!error) error = share_out(instance, index, &content, parts, count, shape, axes);
  /* Copies to a GPU may still read what is freed here. */
  if (content.owned && !error) error = wait_for_copies(instance->graph->stream);
  free(content.ends);
  free(content.owned);
  return error;
}
