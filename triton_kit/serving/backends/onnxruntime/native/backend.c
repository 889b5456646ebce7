/* Triton's `onnxruntime` backend in C: what the server calls.
 *
 * The same config.pbtxt as for the one of Triton's containers, which is C++, and for the
 * kit's own in Python, which serves where this one cannot be compiled.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define EXPORT __attribute__((visibility("default")))

static Error *read_message(Message *message, Json **json) {
  const char *text;
  size_t bytes;
  CHECK(TRITONSERVER_MessageSerializeToJson(message, &text, &bytes));
  *json = read_json(text, bytes);
  return *json ? NULL : failed(ERROR_INTERNAL, "cannot read what the server sent: %.*s", (int)bytes, text);
}

typedef struct {
  int64_t default_max_batch_size;
} BackendState;

EXPORT Error *TRITONBACKEND_Initialize(Backend *backend) {
  uint32_t major, minor;
  Message *message;
  Json *json;
  CHECK(TRITONBACKEND_ApiVersion(&major, &minor));
  if (major != API_MAJOR || minor < API_MINOR)
    return failed(ERROR_UNAVAILABLE, "the server has backend API %u.%u, this backend needs %d.%d", major, minor,
                  API_MAJOR, API_MINOR);
  CHECK(TRITONBACKEND_BackendConfig(backend, &message));
  CHECK(read_message(message, &json));
  const Json *settings = json_get(json, "cmdline");
  const char *library = json_text(json_get(settings, "library"), NULL);
  BackendState *state = calloc(1, sizeof *state);
  Error *error = NULL;
  if (!library)
    error = failed(ERROR_INVALID_ARG, "no onnxruntime: --backend-config=onnxruntime,library=PATH names it");
  else if (!state)
    error = out_of_memory(sizeof *state);
  else
    error = load_ort(library);
  if (!error) {
    state->default_max_batch_size = json_integer(json_get(settings, "default-max-batch-size"), 4);
    error = TRITONBACKEND_BackendSetState(backend, state);
  }
  free_json(json);
  if (error) {
    free(state);
    return error;
  }
  say(LOG_INFO, "native onnxruntime backend: onnxruntime %s", ort_version);
  return NULL;
}

EXPORT Error *TRITONBACKEND_Finalize(Backend *backend) {
  void *state;
  CHECK(TRITONBACKEND_BackendState(backend, &state));
  free(state);
  ort.release_memory_info(ort_cpu);
  ort.release_env(ort_env);
  return NULL;
}

EXPORT Error *TRITONBACKEND_GetBackendAttribute(Backend *backend, BackendAttribute *attributes) {
  (void)backend;
  return TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(attributes, true);
}

static void free_config(ModelState *model) {
  free_json(model->config);
  if (model->message) DROP(TRITONSERVER_MessageDelete(model->message));
  model->config = NULL;
  model->message = NULL;
}

static Error *read_config(ModelState *model) {
  free_config(model);
  CHECK(TRITONBACKEND_ModelConfig(model->triton, JSON_VERSION, &model->message));
  CHECK(read_message(model->message, &model->config));
  model->max_batch_size = json_integer(json_get(model->config, "max_batch_size"), 0);
  return NULL;
}

/* `completed` is the whole config as JSON. */
static Error *set_config(ModelState *model, const Text *completed) {
  Message *message;
  CHECK(TRITONSERVER_MessageNewFromSerializedJson(&message, completed->content, completed->used));
  Error *error = TRITONBACKEND_ModelSetConfig(model->triton, JSON_VERSION, message);
  DROP(TRITONSERVER_MessageDelete(message));
  return error ? error : read_config(model);
}

static Error *options_of(ModelState *model, Options **made) {
  const char *folder;
  int kind;
  CHECK(TRITONBACKEND_ModelRepository(model->triton, &kind, &folder));
  return make_options(model->config, folder, made);
}

static Error *auto_complete(ModelState *model) {
  bool is_wanted;
  Backend *backend;
  void *state;
  Options *options;
  Graph *graph = NULL;
  Text completed = {0};
  CHECK(TRITONBACKEND_ModelAutoCompleteConfig(model->triton, &is_wanted));
  const bool has_inputs = json_count(json_get(model->config, "input")) || json_count(json_get(model->config, "batch_input"));
  if (!is_wanted || (has_inputs && json_count(json_get(model->config, "output")))) return NULL;
  CHECK(TRITONBACKEND_ModelBackend(model->triton, &backend));
  CHECK(TRITONBACKEND_BackendState(backend, &state));
  CHECK(options_of(model, &options));
  Error *error = ort_failed(ort.set_optimization(options, 0), "onnxruntime"); /* none: it is not run */
  if (!error) error = open_graph(model->artifact, options, &graph);
  ort.release_options(options);
  if (!error)
    error = complete_config(model->config, graph, ((BackendState *)state)->default_max_batch_size, &completed);
  if (!error) error = set_config(model, &completed);
  close_graph(graph);
  free(completed.content);
  return error;
}

static void free_model(ModelState *model) {
  close_graph(model->cpu_graph);
  if (model->options) ort.release_options(model->options);
  free_config(model);
  free(model->artifact);
  pthread_mutex_destroy(&model->lock);
  free(model);
}

static Error *fill_model(ModelState *model) {
  const char *folder;
  int kind;
  uint64_t version;
  CHECK(TRITONBACKEND_ModelName(model->triton, &model->name));
  CHECK(TRITONBACKEND_ModelRepository(model->triton, &kind, &folder));
  CHECK(TRITONBACKEND_ModelVersion(model->triton, &version));
  CHECK(read_config(model));
  CHECK(find_artifact(model->config, folder, version, &model->artifact));
  CHECK(auto_complete(model));
  CHECK(options_of(model, &model->options));
  return TRITONBACKEND_ModelSetState(model->triton, model);
}

EXPORT Error *TRITONBACKEND_ModelInitialize(Model *triton) {
  ModelState *model = calloc(1, sizeof *model);
  if (!model) return out_of_memory(sizeof *model);
  model->triton = triton;
  pthread_mutex_init(&model->lock, NULL);
  Error *error = fill_model(model);
  if (error) free_model(model);
  return error;
}

EXPORT Error *TRITONBACKEND_ModelFinalize(Model *triton) {
  void *model = NULL;
  CHECK(TRITONBACKEND_ModelState(triton, &model));
  if (model) free_model(model);
  malloc_trim(0); /* else the memory of a large model may stay with the server for good */
  return NULL;
}
