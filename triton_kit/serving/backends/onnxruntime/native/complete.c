/* Fill in what a model's config leaves out, from its graph. */
#include <stdlib.h>
#include <string.h>

#include "graph.h"

static Error *check_types(const Graph *graph) {
  for (size_t index = 0; index < graph->source_count + graph->result_count; index++) {
    const Tensor *tensor = index < graph->source_count ? &graph->sources[index].tensor
                                                       : &graph->results[index - graph->source_count].tensor;
    if (index < graph->source_count && graph->sources[index].is_optional) continue;
    if (!tensor->type)
      return failed(ERROR_INVALID_ARG, "'%s' is no tensor but a sequence or map: Triton has none", tensor->name);
    if (!element_type_of(tensor->type))
      return failed(ERROR_INVALID_ARG, "tensor '%s' has elements of ONNX type %d: Triton has none", tensor->name,
                    tensor->type);
  }
  return NULL;
}

static bool has_batch_axis(const Tensor *tensor) { return tensor->axes && tensor->shape[0] == -1; }

/* Describe the tensors whose first axis does not vary; empty where the graph takes batches. */
static Text fixed_tensors(const Graph *graph) {
  Text fixed = {0};
  for (size_t index = 0; index < graph->source_count + graph->result_count; index++) {
    const Tensor *tensor = index < graph->source_count ? &graph->sources[index].tensor
                                                       : &graph->results[index - graph->source_count].tensor;
    if (has_batch_axis(tensor) || (index < graph->source_count && graph->sources[index].is_optional)) continue;
    add_text(&fixed, "%s%s ", fixed.used ? ", " : "", tensor->name);
    add_shape(&fixed, tensor->shape, tensor->axes);
  }
  return fixed;
}

static Error *choose_max_batch_size(const Json *config, const Graph *graph, int64_t default_size, int64_t *size) {
  Text fixed = fixed_tensors(graph);
  Error *error = NULL;
  *size = json_integer(json_get(config, "max_batch_size"), 0);
  if (fixed.used && *size > 0)
    error = failed(ERROR_INVALID_ARG,
                   "max_batch_size is %lld, but the graph has no batch axis: the first axis does not vary in %s",
                   (long long)*size, fixed.content ? fixed.content : "it");
  else if (!fixed.used && *size == 0)
    *size = default_size;
  free(fixed.content);
  return error;
}

static void add_entry(Text *text, const Tensor *tensor, bool batched, bool is_first) {
  const size_t skipped = batched ? 1 : 0;
  add_text(text, "%s{\"name\":", is_first ? "" : ",");
  add_json_string(text, tensor->name);
  add_text(text, ",\"data_type\":\"%s\",\"dims\":", element_type_of(tensor->type)->name);
  if (tensor->axes > skipped)
    add_shape(text, tensor->shape + skipped, tensor->axes - skipped);
  else /* A config cannot say "no axes" but by this detour. */
    add_text(text, batched ? "[1],\"reshape\":{\"shape\":[]}" : "[1]");
  add_text(text, "}");
}

static void add_entries(Text *text, const char *key, const Json *config, const Graph *graph, bool batched) {
  const Json *given = json_get(config, key);
  add_text(text, ",\"%s\":", key);
  if (json_count(given)) {
    add_text(text, "%.*s", (int)(given->end - given->begin), given->begin);
    return;
  }
  bool is_first = true;
  add_text(text, "[");
  if (!strcmp(key, "input")) {
    for (size_t index = 0; index < graph->source_count; index++)
      if (!graph->sources[index].is_optional) {
        add_entry(text, &graph->sources[index].tensor, batched, is_first);
        is_first = false;
      }
  } else {
    for (size_t index = 0; index < graph->result_count; index++)
      add_entry(text, &graph->results[index].tensor, batched, !index);
  }
  add_text(text, "]");
}

Error *complete_config(const Json *config, const Graph *graph, int64_t default_max_batch_size, Text *completed) {
  int64_t size;
  CHECK(check_types(graph));
  CHECK(choose_max_batch_size(config, graph, default_max_batch_size, &size));
  add_text(completed, "{\"max_batch_size\":%lld", (long long)size);
  for (const Json *member = config->first; member; member = member->next) {
    if (!strcmp(member->key, "max_batch_size") || !strcmp(member->key, "input") || !strcmp(member->key, "output"))
      continue;
    add_text(completed, ",");
    add_json_string(completed, member->key);
    add_text(completed, ":%.*s", (int)(member->end - member->begin), member->begin);
  }
  add_entries(completed, "input", config, graph, size > 0);
  add_entries(completed, "output", config, graph, size > 0);
  if (size > 1 && !json_get(config, "sequence_batching") && !json_get(config, "dynamic_batching"))
    add_text(completed, ",\"dynamic_batching\":{}");
  add_text(completed, "}");
  return completed->content ? NULL : out_of_memory(completed->used);
}
