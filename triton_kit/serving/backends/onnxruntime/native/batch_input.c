/* Inputs that tell the graph how requests were joined (ModelConfig.batch_input). */
#include "run.h"

enum { ORT_FLOAT = 1 };

/* A vector that is filled from front to back. */
typedef struct {
  char *data;
  size_t used, size;
  bool is_float;
} Vector;

static void push(Vector *vector, int64_t number) {
  if (vector->used == vector->size) return;
  if (vector->is_float)
    ((float *)vector->data)[vector->used++] = (float)number;
  else
    ((int32_t *)vector->data)[vector->used++] = (int32_t)number;
}

static void fill(Vector *vector, MadeKind kind, size_t from, Part **parts, size_t count) {
  int64_t sum = 0;
  if (kind == ACCUMULATED_ELEMENT_COUNT_WITH_ZERO) push(vector, 0);
  for (size_t part = 0; part < count; part++) {
    const Piece *piece = &parts[part]->pieces[from];
    sum += piece->elements;
    if (kind == ELEMENT_COUNT) push(vector, piece->elements);
    if (kind == ACCUMULATED_ELEMENT_COUNT || kind == ACCUMULATED_ELEMENT_COUNT_WITH_ZERO) push(vector, sum);
    if (kind == ITEM_SHAPE || kind == ITEM_SHAPE_FLATTEN)
      for (int64_t row = 0; row < parts[part]->rows; row++)
        for (uint32_t axis = 1; axis < piece->axes; axis++) push(vector, piece->shape[axis]);
  }
  while (vector->used < vector->size) push(vector, 0); /* of the one that is told by its shape, all */
}

/* The shape of what is made; its axes are returned. */
static size_t made_shape(MadeKind kind, size_t from, Part **parts, size_t count, int64_t shape[2]) {
  shape[0] = 0;
  if (kind == ELEMENT_COUNT || kind == ACCUMULATED_ELEMENT_COUNT || kind == ACCUMULATED_ELEMENT_COUNT_WITH_ZERO)
    shape[0] = (int64_t)count + (kind == ACCUMULATED_ELEMENT_COUNT_WITH_ZERO);
  for (size_t part = 0; part < count; part++) {
    const Piece *piece = &parts[part]->pieces[from];
    const int64_t axes = piece->axes ? piece->axes - 1 : 0;
    if (kind == MAX_ELEMENT_COUNT_AS_SHAPE && piece->elements > shape[0]) shape[0] = piece->elements;
    if (kind == ITEM_SHAPE) shape[0] += parts[part]->rows;
    if (kind == ITEM_SHAPE_FLATTEN) shape[0] += parts[part]->rows * axes;
    shape[1] = axes;
  }
  return kind == ITEM_SHAPE ? 2 : 1;
}

Error *make_input(InstanceState *instance, size_t index, Part **parts, size_t count, Value **value) {
  const Source *source = &instance->graph->sources[index];
  int64_t shape[2], elements;
  for (size_t part = 0; part < count; part++)
    if (!parts[part]->pieces[source->made_from].input)
      return failed(ERROR_INVALID_ARG, "input '%s' is missing", instance->graph->sources[source->made_from].tensor.name);
  const size_t axes = made_shape(source->made, source->made_from, parts, count, shape);
  if (!count_elements(shape, axes, &elements) || elements > INT32_MAX)
    return failed(ERROR_INVALID_ARG, "batch_input '%s' is too large", source->tensor.name);
  Buffer *buffer = &instance->joined[index];
  const uint64_t bytes = (uint64_t)elements * sizeof(float);
  CHECK(reserve(buffer, MEMORY_CPU, bytes));
  Vector vector = {buffer->data, 0, (size_t)elements, source->tensor.type == ORT_FLOAT};
  fill(&vector, source->made, source->made_from, parts, count);
  ORT_CHECK(ort.wrap_tensor(ort_cpu, buffer->data, bytes, shape, axes, source->tensor.type, value));
  return NULL;
}
