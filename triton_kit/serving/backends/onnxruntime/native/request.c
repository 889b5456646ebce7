/* What a request brings and wants, checked against the graph. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* Requests mostly list their tensors in the graph's order, so look there first. */
static size_t source_place(const Graph *graph, const char *name, size_t guess) {
  for (size_t step = 0; step < graph->source_count; step++) {
    const size_t index = (guess + step) % graph->source_count;
    if (!strcmp(graph->sources[index].tensor.name, name)) return index;
  }
  return graph->source_count;
}

static size_t result_place(const Graph *graph, const char *name, size_t guess) {
  for (size_t step = 0; step < graph->result_count; step++) {
    const size_t index = (guess + step) % graph->result_count;
    if (!strcmp(graph->results[index].tensor.name, name)) return index;
  }
  return graph->result_count;
}

static Error *read_piece(const Source *source, Piece *piece, int type) {
  const ElementType *wanted = element_type_of(source->tensor.type);
  const char *name = source->tensor.name;
  if (!wanted || wanted->triton != type) return failed(ERROR_INVALID_ARG, "input '%s' has another type", name);
  if (piece->axes > MOST_AXES || !count_elements(piece->shape, piece->axes, &piece->elements))
    return failed(ERROR_INVALID_ARG, "input '%s' has an impossible shape", name);
  int64_t bytes = 0;
  if (wanted->bytes && (__builtin_mul_overflow(piece->elements, (int64_t)wanted->bytes, &bytes) ||
                        (uint64_t)bytes != piece->bytes))
    return failed(ERROR_INVALID_ARG, "input '%s' has %llu bytes, but its shape needs %lld elements of %u bytes", name,
                  (unsigned long long)piece->bytes, (long long)piece->elements, wanted->bytes);
  /* Each string takes at least its length, so a false shape cannot make us allocate much. */
  if (!wanted->bytes && (uint64_t)piece->elements > piece->bytes / sizeof(uint32_t))
    return failed(ERROR_INVALID_ARG, "input '%s' has fewer strings than its shape needs", name);
  /* A config gives a tensor without axes one axis of size 1. */
  if (!source->tensor.axes && piece->elements == 1) piece->axes = 0;
  return NULL;
}

static Error *read_inputs(const Graph *graph, Part *part) {
  uint32_t count;
  CHECK(TRITONBACKEND_RequestInputCount(part->request, &count));
  for (uint32_t index = 0; index < count; index++) {
    Input *input;
    const char *name;
    int type;
    Piece piece = {0};
    CHECK(TRITONBACKEND_RequestInputByIndex(part->request, index, &input));
    CHECK(TRITONBACKEND_InputProperties(input, &name, &type, &piece.shape, &piece.axes, &piece.bytes, &piece.buffers));
    const size_t place = source_place(graph, name, index);
    if (place == graph->source_count || graph->sources[place].made) continue;
    piece.input = input;
    CHECK(read_piece(&graph->sources[place], &piece, type));
    part->pieces[place] = piece;
  }
  for (size_t index = 0; index < graph->source_count; index++) {
    const Source *source = &graph->sources[index];
    if (!part->pieces[index].input && !source->is_optional && !source->made)
      return failed(ERROR_INVALID_ARG, "input '%s' is missing", source->tensor.name);
  }
  return NULL;
}

static Error *read_rows(const Graph *graph, Part *part) {
  Text sizes = {0};
  bool differ = false;
  part->rows = -1;
  for (size_t index = 0; index < graph->source_count; index++) {
    const Piece *piece = &part->pieces[index];
    if (!piece->input) continue;
    if (!piece->axes)
      return failed(ERROR_INVALID_ARG, "input '%s' has no batch axis", graph->sources[index].tensor.name);
    differ |= part->rows >= 0 && piece->shape[0] != part->rows;
    part->rows = piece->shape[0];
  }
  if (part->rows < 0) part->rows = 1; /* a graph without inputs */
  if (!differ) return NULL;
  for (size_t index = 0; index < graph->source_count; index++)
    if (part->pieces[index].input)
      add_text(&sizes, "%s'%s': %lld", sizes.used ? ", " : "", graph->sources[index].tensor.name,
               (long long)part->pieces[index].shape[0]);
  Error *error = failed(ERROR_INVALID_ARG, "inputs have different batch sizes: {%s}", sizes.content ? sizes.content : "");
  free(sizes.content);
  return error;
}

Error *read_part(const InstanceState *instance, Part *part) {
  const Graph *graph = instance->graph;
  bool is_cancelled = false;
  CHECK(TRITONBACKEND_RequestIsCancelled(part->request, &is_cancelled));
  if (is_cancelled) return failed(ERROR_CANCELLED, "the request was cancelled");
  CHECK(read_inputs(graph, part));
  part->rows = 1;
  if (instance->model->max_batch_size > 0) CHECK(read_rows(graph, part));
  uint32_t count;
  CHECK(TRITONBACKEND_RequestOutputCount(part->request, &count));
  for (uint32_t index = 0; index < count; index++) {
    const char *name;
    CHECK(TRITONBACKEND_RequestOutputName(part->request, index, &name));
    const size_t place = result_place(graph, name, index);
    if (place == graph->result_count || !graph->results[place].is_output)
      return failed(ERROR_INVALID_ARG, "there is no output '%s'", name);
    part->wants[place] = true;
  }
  return NULL;
}

bool go_together(const Graph *graph, const Part *one, const Part *other) {
  for (size_t index = 0; index < graph->source_count; index++) {
    const Piece *left = &one->pieces[index], *right = &other->pieces[index];
    if (!left->input != !right->input) return false;
    if (!left->input || graph->sources[index].is_ragged) continue;
    if (left->axes != right->axes) return false;
    if (left->axes > 1 && memcmp(left->shape + 1, right->shape + 1, (left->axes - 1) * sizeof *left->shape))
      return false;
  }
  return true;
}
