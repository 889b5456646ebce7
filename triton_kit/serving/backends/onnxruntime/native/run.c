/* One run of a graph for several requests, and what comes of a run that fails. */
#include <string.h>

#include "run.h"

/* Join every input; `count` is how many the graph is given. */
static Error *join_inputs(InstanceState *instance, Part **parts, size_t part_count, size_t *count) {
  const Graph *graph = instance->graph;
  for (size_t index = 0; index < graph->source_count; index++) {
    const Source *source = &graph->sources[index];
    if (!source->made && !parts[0]->pieces[index].input) continue;
    Value *value = NULL;
    Error *error = source->made ? make_input(instance, index, parts, part_count, &value)
                                : join_input(instance, index, parts, part_count, &value);
    if (value) {
      instance->input_names[*count] = source->tensor.name;
      instance->input_values[(*count)++] = value;
    }
    if (error) return error;
  }
  return NULL;
}

/* List the outputs that a request wants or that are kept as state. */
static size_t list_outputs(InstanceState *instance, Part **parts, size_t part_count) {
  const Graph *graph = instance->graph;
  size_t count = 0;
  for (size_t index = 0; index < graph->result_count; index++) {
    bool is_wanted = graph->results[index].is_state;
    for (size_t part = 0; part < part_count && !is_wanted; part++) is_wanted = parts[part]->wants[index];
    if (!is_wanted) continue;
    instance->output_names[count] = graph->results[index].tensor.name;
    instance->output_places[count] = index;
    instance->output_values[count++] = NULL;
  }
  return count;
}

/* Where the clients want an output: on the GPU if one of them does, as far as it is a number. */
static bool belongs_on_device(const InstanceState *instance, size_t result, Part **parts, size_t part_count) {
  const Tensor *tensor = &instance->graph->results[result].tensor;
  if (tensor->type == ORT_STRING) return false;
  for (size_t part = 0; part < part_count; part++) {
    Memory memory = MEMORY_GPU;
    int64_t memory_id = instance->graph->device;
    Error *error = TRITONBACKEND_RequestOutputBufferProperties(parts[part]->request, tensor->name, NULL, &memory,
                                                               &memory_id);
    if (error)
      TRITONSERVER_ErrorDelete(error);
    else if (memory == MEMORY_GPU)
      return true;
  }
  return false;
}

static Binding *binding_of(const InstanceState *instance) {
  return instance->size ? instance->size->binding : instance->binding;
}

static void clear_binding(const InstanceState *instance) {
  ort.clear_inputs(binding_of(instance));
  ort.clear_outputs(binding_of(instance));
}

static Error *take_bound_outputs(InstanceState *instance, const Binding *binding, size_t outputs) {
  Value **values = NULL;
  size_t count = 0;
  ORT_CHECK(ort.bound_outputs(binding, ort_allocator, &values, &count));
  for (size_t index = 0; index < count; index++) {
    if (index < outputs)
      instance->output_values[index] = values[index];
    else
      ort.release_value(values[index]);
  }
  if (values) ORT_CHECK(ort.free_with(ort_allocator, values));
  return count == outputs ? NULL : failed(ERROR_INTERNAL, "onnxruntime returned %zu of %zu outputs", count, outputs);
}

/* On a GPU, inputs and outputs are bound where they are, so that nothing takes a detour. */
static Error *run_on_device(InstanceState *instance, Part **parts, size_t part_count, size_t inputs, size_t outputs,
                            bool *on_device) {
  Session *const session = instance->size ? instance->size->session : instance->graph->session;
  Binding *const binding = binding_of(instance);
  for (size_t index = 0; index < outputs; index++)
    on_device[index] = belongs_on_device(instance, instance->output_places[index], parts, part_count);
  if (instance->results) return run_replay(instance, outputs, on_device);
  for (size_t index = 0; index < inputs; index++)
    ORT_CHECK(ort.bind_input(binding, instance->input_names[index], instance->input_values[index]));
  for (size_t index = 0; index < outputs; index++) {
    const size_t result = instance->output_places[index];
    /* Strings are objects, which only memory of the CPU's own allocator can hold. */
    const bool is_string = instance->graph->results[result].tensor.type == ORT_STRING;
    const MemoryInfo *memory = is_string ? ort_cpu : on_device[index] ? instance->gpu_memory : instance->pinned_memory;
    ORT_CHECK(ort.bind_output_to(binding, instance->output_names[index], memory));
  }
  ORT_CHECK(ort.run_bound(session, NULL, binding));
  return take_bound_outputs(instance, binding, outputs);
}

static Error *run_graph(InstanceState *instance, Part **parts, size_t part_count, size_t inputs, size_t outputs,
                        bool *on_device) {
  Error *error;
  set_crash_name(instance->model->name);
  if (instance->binding) {
    error = run_on_device(instance, parts, part_count, inputs, outputs, on_device);
    if (!instance->results) clear_binding(instance);
  } else {
    error = ort_failed(ort.run(instance->graph->session, NULL, instance->input_names,
                               (const Value *const *)instance->input_values, inputs, instance->output_names, outputs,
                               instance->output_values),
                       "onnxruntime");
  }
  set_crash_name(NULL);
  return error;
}

/* Throw away what a failed run has prepared, so that the requests can be tried again. */
static void forget(Part *part) {
  if (part->response) DROP(TRITONBACKEND_ResponseDelete(part->response));
  part->response = NULL;
  if (part->error) TRITONSERVER_ErrorDelete(part->error);
  part->error = NULL;
}

static Error *run_once(InstanceState *instance, Part **parts, size_t count, uint64_t *compute_ns,
                       uint64_t *computed_ns) {
  const size_t outputs = list_outputs(instance, parts, count);
  bool on_device[outputs + 1];
  memset(on_device, 0, sizeof on_device);
  size_t inputs = 0;
  instance->rows = 0;
  for (size_t index = 0; index < count; index++) instance->rows += parts[index]->rows;
  instance->size = size_for(instance, instance->rows);
  const bool has_gpu = instance->graph->device >= 0;
  if (has_gpu) lock_devices(instance->results && instance->size && !instance->size->is_recorded);
  Error *error = join_inputs(instance, parts, count, &inputs);
  *compute_ns = now_ns();
  if (!error) error = run_graph(instance, parts, count, inputs, outputs, on_device);
  *computed_ns = now_ns();
  for (size_t index = 0; index < outputs && !error; index++)
    error = split_output(instance, instance->output_places[index], instance->output_values[index],
                         on_device[index] ? MEMORY_GPU : MEMORY_CPU, parts, count);
  Error *late = wait_for_copies(instance->graph->stream);
  if (late && error) TRITONSERVER_ErrorDelete(late);
  if (late && !error) error = late;
  if (has_gpu) unlock_devices();
  for (size_t index = 0; index < inputs; index++) ort.release_value(instance->input_values[index]);
  for (size_t index = 0; index < outputs; index++)
    if (instance->output_values[index]) ort.release_value(instance->output_values[index]);
  return error;
}

static void respond(InstanceState *instance, Part *part) {
  for (size_t index = 0; index < instance->graph->result_count && !part->error; index++)
    if (part->states[index]) part->error = TRITONBACKEND_StateUpdate(part->states[index]);
  if (!part->error && !part->response) part->error = TRITONBACKEND_ResponseNew(&part->response, part->request);
  if (part->error) return;
  DROP(TRITONBACKEND_ResponseSend(part->response, RESPONSE_FINAL, NULL));
  part->response = NULL;
  part->has_response = true;
}

void run_parts(InstanceState *instance, Part **parts, size_t count, uint64_t start_ns) {
  uint64_t compute_ns, computed_ns, rows = 0;
  Error *error = run_once(instance, parts, count, &compute_ns, &computed_ns);
  for (size_t index = 0; index < count; index++) {
    parts[index]->compute_ns = compute_ns;
    parts[index]->computed_ns = computed_ns;
    rows += (uint64_t)parts[index]->rows;
  }
  if (error) {
    for (size_t index = 0; index < count; index++) forget(parts[index]);
    if (count == 1) {
      parts[0]->error = error;
      return;
    }
    /* The request at fault is found by halves; all others get a response. */
    TRITONSERVER_ErrorDelete(error);
    run_parts(instance, parts, count / 2, start_ns);
    run_parts(instance, parts + count / 2, count - count / 2, start_ns);
    return;
  }
  for (size_t index = 0; index < count; index++) respond(instance, parts[index]);
  DROP(TRITONBACKEND_ModelInstanceReportBatchStatistics(instance->triton, rows, start_ns, compute_ns, computed_ns,
                                                        now_ns()));
}
