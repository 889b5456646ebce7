/* An instance of a model: a thread of the server, with what it keeps from run to run. */
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define EXPORT __attribute__((visibility("default")))

enum { DEVICE_ALLOCATOR = 0, MEMORY_DEFAULT = 0, MEMORY_CPU_OUTPUT = -1 };

static Error *open_and_apply(const ModelState *model, const Options *options, Graph **graph) {
  CHECK(open_graph(model->artifact, options, graph));
  Error *error = apply_config(model->config, *graph);
  if (!error) return NULL;
  close_graph(*graph);
  *graph = NULL;
  return error;
}

/* Instances on the CPU share one session: it may be run by many threads at once. */
static Error *share_graph(ModelState *model, Graph **graph) {
  pthread_mutex_lock(&model->lock);
  Error *error = model->cpu_graph ? NULL : open_and_apply(model, model->options, &model->cpu_graph);
  *graph = model->cpu_graph;
  pthread_mutex_unlock(&model->lock);
  return error;
}

/* One on a GPU has a session and a stream of its own. */
static Error *open_on_device(InstanceState *instance, int32_t device, bool *works) {
  const ModelState *model = instance->model;
  Options *options;
  void *stream = NULL;
  Error *unusable = open_stream(device, &stream);
  if (unusable) {
    say(LOG_WARN, "%s: %s: running on the CPU", model->name, TRITONSERVER_ErrorMessage(unusable));
    TRITONSERVER_ErrorDelete(unusable);
    *works = false;
    return NULL;
  }
  Error *error = ort_failed(ort.clone_options(model->options, &options), "onnxruntime");
  if (!error) {
    error = use_cuda(model->config, model->name, options, device, stream, works);
    if (!error && *works) error = open_and_apply(model, options, &instance->graph);
    if (!error && *works) error = open_sizes(instance, options);
    ort.release_options(options);
  }
  if (error || !*works) {
    /* Sessions use the stream to their end. */
    close_sizes(instance);
    close_graph(instance->graph);
    instance->graph = NULL;
    close_stream(device, stream);
    return error;
  }
  instance->owns_graph = true;
  instance->graph->device = device;
  instance->graph->stream = stream;
  ORT_CHECK(ort.create_binding(instance->graph->session, &instance->binding));
  ORT_CHECK(ort.create_memory_info("Cuda", DEVICE_ALLOCATOR, device, MEMORY_DEFAULT, &instance->gpu_memory));
  ORT_CHECK(ort.create_memory_info("CudaPinned", DEVICE_ALLOCATOR, device, MEMORY_CPU_OUTPUT, &instance->pinned_memory));
  return NULL;
}

static Error *allocate(InstanceState *instance) {
  const size_t inputs = instance->graph->source_count + 1, outputs = instance->graph->result_count + 1;
  instance->joined = calloc(inputs, sizeof *instance->joined);
  instance->on_device = calloc(inputs, sizeof *instance->on_device);
  instance->input_names = calloc(inputs, sizeof *instance->input_names);
  instance->input_values = calloc(inputs, sizeof *instance->input_values);
  instance->output_names = calloc(outputs, sizeof *instance->output_names);
  instance->output_values = calloc(outputs, sizeof *instance->output_values);
  instance->output_places = calloc(outputs, sizeof *instance->output_places);
  return instance->joined && instance->on_device && instance->input_names && instance->input_values &&
                 instance->output_names && instance->output_values && instance->output_places
             ? NULL
             : out_of_memory(inputs + outputs);
}

static Error *fill_instance(InstanceState *instance) {
  Model *triton;
  void *model;
  Kind kind;
  int32_t device;
  bool on_device = false;
  CHECK(TRITONBACKEND_ModelInstanceModel(instance->triton, &triton));
  CHECK(TRITONBACKEND_ModelState(triton, &model));
  instance->model = model;
  CHECK(TRITONBACKEND_ModelInstanceKind(instance->triton, &kind));
  CHECK(TRITONBACKEND_ModelInstanceDeviceId(instance->triton, &device));
  if (kind == KIND_GPU) {
    lock_devices(false);
    Error *error = open_on_device(instance, device, &on_device);
    unlock_devices();
    CHECK(error);
  }
  if (!on_device) CHECK(share_graph(instance->model, &instance->graph));
  CHECK(allocate(instance));
  if (on_device && wants_replays(instance->model->config)) CHECK(open_replays(instance));
  return TRITONBACKEND_ModelInstanceSetState(instance->triton, instance);
}

static void free_instance(InstanceState *instance) {
  Graph *graph = instance->graph;
  const bool has_gpu = graph && graph->device >= 0;
  if (has_gpu) lock_devices(false);
  if (has_gpu) DROP(enter_device(graph->device));
  for (size_t index = 0; graph && instance->joined && index < graph->source_count; index++)
    release_buffer(&instance->joined[index]);
  for (size_t index = 0; graph && instance->on_device && index < graph->source_count; index++)
    release_buffer(&instance->on_device[index]);
  release_buffer(&instance->parts);
  free(instance->joined);
  free(instance->on_device);
  free(instance->input_names);
  free(instance->input_values);
  free(instance->output_names);
  free(instance->output_values);
  free(instance->output_places);
  close_replays(instance);
  close_sizes(instance);
  if (instance->binding) ort.release_binding(instance->binding);
  if (instance->gpu_memory) ort.release_memory_info(instance->gpu_memory);
  if (instance->pinned_memory) ort.release_memory_info(instance->pinned_memory);
  if (instance->owns_graph) {
    void *const stream = graph->stream;
    const int32_t device = graph->device;
    close_graph(graph);
    close_stream(device, stream);
  }
  if (has_gpu) unlock_devices();
  free(instance);
}

EXPORT Error *TRITONBACKEND_ModelInstanceInitialize(Instance *triton) {
  InstanceState *instance = calloc(1, sizeof *instance);
  if (!instance) return out_of_memory(sizeof *instance);
  instance->triton = triton;
  Error *error = fill_instance(instance);
  if (error) free_instance(instance);
  return error;
}

EXPORT Error *TRITONBACKEND_ModelInstanceFinalize(Instance *triton) {
  void *instance = NULL;
  CHECK(TRITONBACKEND_ModelInstanceState(triton, &instance));
  if (instance) free_instance(instance);
  return NULL;
}

/* Lay out one Part per request, with its pieces, wishes and states, in memory kept for it. */
static Error *lay_out(InstanceState *instance, uint32_t count, Part **parts) {
  const Graph *graph = instance->graph;
  const uint64_t pieces = graph->source_count * sizeof(Piece), states = graph->result_count * sizeof(State *);
  const uint64_t wants = graph->result_count * sizeof(bool);
  const uint64_t bytes = count * (sizeof(Part) + pieces + states + wants);
  CHECK(reserve(&instance->parts, MEMORY_CPU, bytes));
  memset(instance->parts.data, 0, bytes);
  *parts = instance->parts.data;
  char *at = (char *)(*parts + count);
  for (uint32_t index = 0; index < count; index++, at += pieces + states) {
    (*parts)[index].pieces = (Piece *)at;
    (*parts)[index].states = (State **)(at + pieces);
  }
  for (uint32_t index = 0; index < count; index++, at += wants) (*parts)[index].wants = (bool *)at;
  return NULL;
}

/* Run the requests in as few runs as their shapes allow. */
static void run_groups(InstanceState *instance, Part *parts, uint32_t count, uint64_t start_ns) {
  const bool batched = instance->model->max_batch_size > 0;
  Part *group[count];
  for (uint32_t first = 0; first < count; first++) {
    if (parts[first].is_grouped || parts[first].error) continue;
    size_t size = 0;
    group[size++] = &parts[first];
    for (uint32_t other = first + 1; other < count && batched; other++) {
      if (parts[other].is_grouped || parts[other].error) continue;
      if (!go_together(instance->graph, &parts[first], &parts[other])) continue;
      parts[other].is_grouped = true;
      group[size++] = &parts[other];
    }
    run_parts(instance, group, size, start_ns);
  }
}

/* Tell the client of a failure. Its response may exist already: what it holds is dropped. */
static void refuse(Request *request, Response *response, Error *error) {
  Error *problem = response ? NULL : TRITONBACKEND_ResponseNew(&response, request);
  if (!problem) problem = TRITONBACKEND_ResponseSend(response, RESPONSE_FINAL, error);
  if (problem) say(LOG_ERROR, "cannot send an error: %s", TRITONSERVER_ErrorMessage(problem));
  if (problem) TRITONSERVER_ErrorDelete(problem);
  TRITONSERVER_ErrorDelete(error);
}

static void finish(InstanceState *instance, Part *part, uint64_t start_ns) {
  const uint64_t end_ns = now_ns();
  const uint64_t compute_ns = part->compute_ns ? part->compute_ns : end_ns;
  const uint64_t computed_ns = part->computed_ns ? part->computed_ns : end_ns;
  if (part->error) refuse(part->request, part->response, part->error);
  DROP(TRITONBACKEND_ModelInstanceReportStatistics(instance->triton, part->request, part->has_response, start_ns,
                                                   compute_ns, computed_ns, end_ns));
  DROP(TRITONBACKEND_RequestRelease(part->request, RELEASE_ALL));
}

EXPORT Error *TRITONBACKEND_ModelInstanceExecute(Instance *triton, Request **requests, const uint32_t count) {
  const uint64_t start_ns = now_ns();
  void *state = NULL;
  Part *parts;
  /* An error here makes Triton respond to and release every request; later on, we have to. */
  CHECK(TRITONBACKEND_ModelInstanceState(triton, &state));
  InstanceState *instance = state;
  if (instance->graph->device >= 0) CHECK(enter_device(instance->graph->device));
  CHECK(lay_out(instance, count, &parts));
  for (uint32_t index = 0; index < count; index++) {
    parts[index].request = requests[index];
    parts[index].error = read_part(instance, &parts[index]);
  }
  run_groups(instance, parts, count, start_ns);
  for (uint32_t index = 0; index < count; index++) finish(instance, &parts[index], start_ns);
  return NULL;
}
