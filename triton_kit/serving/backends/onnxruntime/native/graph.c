#define _GNU_SOURCE
#include "graph.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static Error *no_file(const char *artifact) {
  Text found = {0};
  char *folder = strdup(artifact), *slash = folder ? strrchr(folder, '/') : NULL;
  if (slash) *slash = 0;
  struct dirent **entries = NULL;
  const int count = folder ? scandir(folder, &entries, NULL, alphasort) : -1;
  for (int index = 0; index < count; index++) {
    const char *name = entries[index]->d_name;
    if (strcmp(name, ".") && strcmp(name, "..")) add_text(&found, "%s%s", found.used ? ", " : "", name);
    free(entries[index]);
  }
  free(entries);
  free(folder);
  Error *error = failed(ERROR_UNAVAILABLE,
                        "no model file %s; its folder holds %s (default_model_filename names another file)", artifact,
                        found.used ? found.content : "nothing");
  free(found.content);
  return error;
}

Error *find_artifact(const Json *config, const char *folder, uint64_t version, char **artifact) {
  const char *name = json_text(json_get(config, "default_model_filename"), "");
  Text path = {0};
  add_text(&path, "%s/%llu/%s", folder, (unsigned long long)version, *name ? name : "model.onnx");
  struct stat found;
  if (path.content && !stat(path.content, &found) && S_ISDIR(found.st_mode)) add_text(&path, "/model.onnx");
  if (!path.content) return out_of_memory(path.used);
  Error *error = stat(path.content, &found) || S_ISDIR(found.st_mode) ? no_file(path.content) : NULL;
  if (error)
    free(path.content);
  else
    *artifact = path.content;
  return error;
}

static Error *read_type(TypeInfo *type, Tensor *tensor) {
  const ShapeInfo *shape = NULL;
  int kind = 0;
  ORT_CHECK(ort.kind_of_type(type, &kind));
  if (kind != ORT_TENSOR) return NULL;
  ORT_CHECK(ort.as_tensor_type(type, &shape));
  ORT_CHECK(ort.element_type(shape, &tensor->type));
  ORT_CHECK(ort.axes(shape, &tensor->axes));
  if (tensor->axes > MOST_AXES)
    return failed(ERROR_INVALID_ARG, "tensor '%s' has %zu axes, more than %d", tensor->name, tensor->axes, MOST_AXES);
  ORT_CHECK(ort.shape(shape, tensor->shape, tensor->axes));
  for (size_t axis = 0; axis < tensor->axes; axis++)
    if (tensor->shape[axis] < 0) tensor->shape[axis] = -1;
  return NULL;
}

static Error *read_tensor(const Session *session, size_t index, Tensor *tensor,
                          Status *(*name_of)(const Session *, size_t, Allocator *, char **),
                          Status *(*type_of)(const Session *, size_t, TypeInfo **)) {
  char *name = NULL;
  TypeInfo *type = NULL;
  ORT_CHECK(name_of(session, index, ort_allocator, &name));
  tensor->name = strdup(name);
  Status *freed = ort.free_with(ort_allocator, name);
  if (freed) ort.release_status(freed);
  if (!tensor->name) return out_of_memory(0);
  ORT_CHECK(type_of(session, index, &type));
  Error *error = read_type(type, tensor);
  ort.release_type(type);
  return error;
}

static Error *read_tensors(Graph *graph) {
  size_t inputs = 0, optionals = 0, outputs = 0;
  ORT_CHECK(ort.input_count(graph->session, &inputs));
  ORT_CHECK(ort.optional_count(graph->session, &optionals));
  ORT_CHECK(ort.output_count(graph->session, &outputs));
  graph->sources = calloc(inputs + optionals + 1, sizeof *graph->sources);
  graph->results = calloc(outputs + 1, sizeof *graph->results);
  if (!graph->sources || !graph->results) return out_of_memory((inputs + outputs) * sizeof *graph->sources);
  for (size_t index = 0; index < inputs; index++)
    CHECK(read_tensor(graph->session, index, &graph->sources[graph->source_count++].tensor, ort.input_name,
                      ort.input_type));
  for (size_t index = 0; index < optionals; index++) {
    Source *source = &graph->sources[graph->source_count++];
    source->is_optional = true;
    CHECK(read_tensor(graph->session, index, &source->tensor, ort.optional_name, ort.optional_type));
  }
  for (size_t index = 0; index < outputs; index++)
    CHECK(read_tensor(graph->session, index, &graph->results[graph->result_count++].tensor, ort.output_name,
                      ort.output_type));
  return NULL;
}

Error *open_graph(const char *artifact, const Options *options, Graph **opened) {
  Graph *graph = calloc(1, sizeof *graph);
  if (!graph) return out_of_memory(sizeof *graph);
  graph->device = -1;
  Error *error = ort_failed(ort.create_session(ort_env, artifact, options, &graph->session),
                            "onnxruntime %s cannot open %s", ort_version, artifact);
  if (!error) error = read_tensors(graph);
  if (error)
    close_graph(graph);
  else
    *opened = graph;
  return error;
}

void close_graph(Graph *graph) {
  if (!graph) return;
  for (size_t index = 0; index < graph->source_count; index++) free(graph->sources[index].tensor.name);
  for (size_t index = 0; index < graph->result_count; index++) free(graph->results[index].tensor.name);
  free(graph->sources);
  free(graph->results);
  if (graph->session) ort.release_session(graph->session);
  free(graph);
}
