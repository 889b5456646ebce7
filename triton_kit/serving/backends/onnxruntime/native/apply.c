/* Hold a model's config against its graph, and note in the graph what the config says. */
#include <stdlib.h>
#include <string.h>

#include "graph.h"

/* The config, the graph, and what is wrong between them. */
typedef struct {
  const Json *config;
  Graph *graph;
  bool batched;
  Text wrong;
} Check;

static Source *source_named(const Graph *graph, const char *name) {
  for (size_t index = 0; index < graph->source_count; index++)
    if (!strcmp(graph->sources[index].tensor.name, name)) return &graph->sources[index];
  return NULL;
}

static Result *result_named(const Graph *graph, const char *name) {
  for (size_t index = 0; index < graph->result_count; index++)
    if (!strcmp(graph->results[index].tensor.name, name)) return &graph->results[index];
  return NULL;
}

static const Json *list_of(const Json *object, const char *key) {
  const Json *list = json_get(object, key);
  return list ? list->first : NULL;
}

static size_t read_dims(const Json *dims, int64_t *to, size_t most) {
  size_t count = 0;
  for (const Json *size = dims ? dims->first : NULL; size && count < most; size = size->next)
    to[count++] = json_integer(size, 0);
  return count;
}

static void begin_complaint(Check *check) {
  if (check->wrong.used) add_text(&check->wrong, "; ");
}

static bool fits(const int64_t *dims, size_t count, const Tensor *tensor, bool batched) {
  if (!tensor->axes) { /* no axes: the config writes them as ones */
    for (size_t axis = 0; axis < count; axis++)
      if (dims[axis] != 1) return false;
    return !batched;
  }
  const size_t skipped = batched ? 1 : 0;
  if (batched && tensor->shape[0] != -1) return false;
  if (count != tensor->axes - skipped) return false;
  for (size_t axis = 0; axis < count; axis++) {
    const int64_t size = tensor->shape[axis + skipped];
    if (size != -1 && size != dims[axis]) return false;
  }
  return true;
}

static void check_type(Check *check, const char *kind, const char *name, const Json *entry, const Tensor *tensor) {
  const char *given = json_text(json_get(entry, "data_type"), "");
  const ElementType *type = element_type_of(tensor->type);
  if (type && !strcmp(type->name, given)) return;
  begin_complaint(check);
  if (type)
    add_text(&check->wrong, "%s '%s': the config says %s, the graph says %s", kind, name, given, type->name);
  else if (tensor->type)
    add_text(&check->wrong, "%s '%s': the config says %s, the graph says ONNX type %d", kind, name, given, tensor->type);
  else
    add_text(&check->wrong, "%s '%s': the config says %s, the graph has no tensor there", kind, name, given);
}

static void check_shape(Check *check, const char *kind, const char *name, const Json *entry, const Tensor *tensor) {
  int64_t dims[MOST_AXES];
  const Json *reshape = json_get(entry, "reshape");
  const size_t count = read_dims(reshape ? json_get(reshape, "shape") : json_get(entry, "dims"), dims, MOST_AXES);
  if (fits(dims, count, tensor, check->batched)) return;
  begin_complaint(check);
  add_text(&check->wrong, "%s '%s': the config says ", kind, name);
  add_shape(&check->wrong, dims, count);
  add_text(&check->wrong, "%s, the graph says ", check->batched ? " behind the batch axis" : "");
  add_shape(&check->wrong, tensor->shape, tensor->axes);
}

static void complain_unknown(Check *check, const char *kind, const char *name) {
  const Graph *graph = check->graph;
  const bool is_input = !strcmp(kind, "input");
  const size_t count = is_input ? graph->source_count : graph->result_count;
  begin_complaint(check);
  add_text(&check->wrong, "%s '%s' is in the config, but not in the graph; its %ss: ", kind, name, kind);
  for (size_t index = 0; index < count; index++)
    add_text(&check->wrong, "%s%s", index ? ", " : "",
             is_input ? graph->sources[index].tensor.name : graph->results[index].tensor.name);
  if (!count) add_text(&check->wrong, "none");
}

static void apply_input(Check *check, const Json *entry) {
  const char *name = json_text(json_get(entry, "name"), "");
  Source *source = source_named(check->graph, name);
  if (!source) {
    complain_unknown(check, "input", name);
    return;
  }
  check_type(check, "input", name, entry, &source->tensor);
  source->is_ragged = json_is_true(json_get(entry, "allow_ragged_batch"));
  if (!source->is_ragged) {
    check_shape(check, "input", name, entry, &source->tensor);
    return;
  }
  check->graph->has_ragged = true;
  if (source->tensor.axes == 1 && source->tensor.shape[0] == -1 && source->tensor.type != ORT_STRING) return;
  begin_complaint(check);
  add_text(&check->wrong, "input '%s': a ragged batch needs a graph input of shape [-1], the graph says ", name);
  add_shape(&check->wrong, source->tensor.shape, source->tensor.axes);
}

static const Json *batch_output_of(const Json *config, const char *name) {
  for (const Json *each = list_of(config, "batch_output"); each; each = each->next)
    for (const Json *target = list_of(each, "target_name"); target; target = target->next)
      if (!strcmp(json_text(target, ""), name)) return each;
  return NULL;
}

static void apply_scatter(Check *check, Result *result, const Json *entry, const Json *batch_output) {
  const Json *from = list_of(batch_output, "source_input");
  const Source *source = source_named(check->graph, json_text(from, ""));
  if (!source) {
    complain_unknown(check, "input", json_text(from, ""));
    return;
  }
  result->is_scattered = true;
  result->scattered_by = (size_t)(source - check->graph->sources);
  const size_t first = check->batched ? 1 : 0;
  result->told[0] = -1;
  result->told_axes = first + read_dims(json_get(entry, "dims"), result->told + first, MOST_AXES - first);
}

static void apply_output(Check *check, const Json *entry) {
  const char *name = json_text(json_get(entry, "name"), "");
  Result *result = result_named(check->graph, name);
  if (!result) {
    complain_unknown(check, "output", name);
    return;
  }
  result->is_output = true;
  check_type(check, "output", name, entry, &result->tensor);
  const Json *batch_output = batch_output_of(check->config, name);
  if (batch_output) {
    apply_scatter(check, result, entry, batch_output);
    return;
  }
  check_shape(check, "output", name, entry, &result->tensor);
  if (!result->tensor.axes) {
    result->is_scalar = true;
    result->told_axes = read_dims(json_get(entry, "dims"), result->told, MOST_AXES);
  }
}

static void apply_state(Check *check, const Json *entry) {
  const char *input = json_text(json_get(entry, "input_name"), "");
  const char *output = json_text(json_get(entry, "output_name"), "");
  const Source *source = source_named(check->graph, input);
  Result *result = result_named(check->graph, output);
  if (!source) complain_unknown(check, "input", input);
  if (!result) complain_unknown(check, "output", output);
  if (!source || !result) return;
  result->is_state = true;
  check_type(check, "state input", input, entry, &source->tensor);
  check_type(check, "state output", output, entry, &result->tensor);
  check_shape(check, "state input", input, entry, &source->tensor);
  check_shape(check, "state output", output, entry, &result->tensor);
}

static MadeKind made_kind(const char *name) {
  static const char *const names[] = {
      [ELEMENT_COUNT] = "BATCH_ELEMENT_COUNT",
      [ACCUMULATED_ELEMENT_COUNT] = "BATCH_ACCUMULATED_ELEMENT_COUNT",
      [ACCUMULATED_ELEMENT_COUNT_WITH_ZERO] = "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO",
      [MAX_ELEMENT_COUNT_AS_SHAPE] = "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE",
      [ITEM_SHAPE] = "BATCH_ITEM_SHAPE",
      [ITEM_SHAPE_FLATTEN] = "BATCH_ITEM_SHAPE_FLATTEN",
  };
  for (int kind = ELEMENT_COUNT; kind <= ITEM_SHAPE_FLATTEN; kind++)
    if (!strcmp(names[kind], name)) return (MadeKind)kind;
  return NOT_MADE;
}

static void apply_batch_input(Check *check, const Json *entry) {
  const char *kind = json_text(json_get(entry, "kind"), "BATCH_ELEMENT_COUNT");
  const char *from = json_text(list_of(entry, "source_input"), "");
  const Source *origin = source_named(check->graph, from);
  if (!origin) complain_unknown(check, "input", from);
  for (const Json *target = list_of(entry, "target_name"); target; target = target->next) {
    const char *name = json_text(target, "");
    Source *source = source_named(check->graph, name);
    if (!source) complain_unknown(check, "input", name);
    if (!source || !origin) continue;
    check_type(check, "batch_input", name, entry, &source->tensor);
    source->made = made_kind(kind);
    source->made_from = (size_t)(origin - check->graph->sources);
    const char *type = json_text(json_get(entry, "data_type"), "");
    if (source->made != NOT_MADE && (!strcmp(type, "TYPE_FP32") || !strcmp(type, "TYPE_INT32"))) continue;
    begin_complaint(check);
    add_text(&check->wrong, "batch_input '%s': kind %s as %s is not supported", name, kind, type);
  }
}

static bool is_brought(const Check *check, const char *name) {
  const Json *sequence = json_get(check->config, "sequence_batching");
  for (const Json *each = list_of(check->config, "input"); each; each = each->next)
    if (!strcmp(json_text(json_get(each, "name"), ""), name)) return true;
  for (const Json *each = list_of(sequence, "control_input"); each; each = each->next)
    if (!strcmp(json_text(json_get(each, "name"), ""), name)) return true;
  for (const Json *each = list_of(sequence, "state"); each; each = each->next)
    if (!strcmp(json_text(json_get(each, "input_name"), ""), name)) return true;
  return false;
}

Error *apply_config(const Json *config, Graph *graph) {
  Check check = {config, graph, json_integer(json_get(config, "max_batch_size"), 0) > 0, {0}};
  for (const Json *entry = list_of(config, "batch_input"); entry; entry = entry->next) apply_batch_input(&check, entry);
  for (size_t index = 0; index < graph->source_count; index++) {
    const Source *source = &graph->sources[index];
    if (source->is_optional || source->made || is_brought(&check, source->tensor.name)) continue;
    begin_complaint(&check);
    add_text(&check.wrong, "input '%s' is in the graph, but not in the config", source->tensor.name);
  }
  for (const Json *entry = list_of(config, "input"); entry; entry = entry->next) apply_input(&check, entry);
  for (const Json *entry = list_of(config, "output"); entry; entry = entry->next) apply_output(&check, entry);
  const Json *states = list_of(json_get(config, "sequence_batching"), "state");
  for (const Json *entry = states; entry; entry = entry->next) apply_state(&check, entry);
  Error *error = check.wrong.used ? failed(ERROR_INVALID_ARG, "%s", check.wrong.content ? check.wrong.content : "")
                                  : NULL;
  free(check.wrong.content);
  return error;
}
