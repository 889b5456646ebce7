/* A model's settings: session options, and those of the CUDA provider. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "run.h"

static const char *parameter(const Json *config, const char *name, const char *otherwise) {
  return json_text(json_get(json_get(json_get(config, "parameters"), name), "string_value"), otherwise);
}

static Error *integer(const Json *config, const char *name, int *value) {
  const char *text = parameter(config, name, "0");
  char *rest;
  const long number = strtol(text, &rest, 10);
  if (!*text || *rest || number > INT_MAX || number < INT_MIN)
    return failed(ERROR_INVALID_ARG, "parameter %s is a number, the config says '%s'", name, text);
  *value = (int)number;
  return NULL;
}

static Error *truth(const Json *config, const char *name, bool *value) {
  const char *text = parameter(config, name, "true");
  *value = !strcasecmp(text, "true") || !strcmp(text, "1");
  if (!*value && strcasecmp(text, "false") && strcmp(text, "0"))
    return failed(ERROR_INVALID_ARG, "parameter %s is true or false, the config says '%s'", name, text);
  return NULL;
}

/* optimization.graph.level -> GraphOptimizationLevel, as the C++ backend reads it. */
static int optimization_level(const Json *config) {
  switch (json_integer(json_get(json_get(json_get(config, "optimization"), "graph"), "level"), 0)) {
    case -1: return 1; /* basic */
    case 1: return 2;  /* extended */
    case 2: return 0;  /* none */
    default: return 99;
  }
}

static Error *set_memory(const Json *config, Options *options) {
  static const char device_initializers[] = "session.use_device_allocator_for_initializers";
  bool has_arena, has_pattern;
  CHECK(truth(config, "enable_mem_arena", &has_arena));
  CHECK(truth(config, "enable_mem_pattern", &has_pattern));
  if (!has_arena) ORT_CHECK(ort.disable_cpu_arena(options));
  if (!has_pattern) ORT_CHECK(ort.disable_memory_pattern(options));
  const char *entry = parameter(config, device_initializers, NULL);
  if (entry) ORT_CHECK(ort.add_session_entry(options, device_initializers, entry));
  return NULL;
}

/* Containers have the repository in /models. Elsewhere such a path is in the model's own folder. */
static Error *register_library(const Json *config, const char *folder, const char *path, Options *options) {
  Text here = {0}, there = {0};
  void *handle;
  add_text(&here, "/models/%s/", json_text(json_get(config, "name"), ""));
  if (!here.content) return out_of_memory(here.used);
  const size_t length = strlen(here.content);
  if (access(path, F_OK) && !strncmp(path, here.content, length)) add_text(&there, "%s/%s", folder, path + length);
  Error *error = ort_failed(ort.register_custom_ops(options, there.content ? there.content : path, &handle), "onnxruntime");
  free(here.content);
  free(there.content);
  return error;
}

static Error *set_options(const Json *config, const char *folder, Options *options) {
  int mode, intra, inter;
  ORT_CHECK(ort.set_optimization(options, optimization_level(config)));
  CHECK(integer(config, "execution_mode", &mode));
  if (mode != 0 && mode != 1)
    return failed(ERROR_INVALID_ARG, "parameter execution_mode is 0 or 1, the config says %d", mode);
  ORT_CHECK(ort.set_execution_mode(options, mode));
  CHECK(integer(config, "intra_op_thread_count", &intra));
  CHECK(integer(config, "inter_op_thread_count", &inter));
  /* 0, and below, leaves the choice to ONNX Runtime: one thread per core. */
  if (intra > 0) ORT_CHECK(ort.set_intra_threads(options, intra));
  if (inter > 0) ORT_CHECK(ort.set_inter_threads(options, inter));
  CHECK(set_memory(config, options));
  const Json *libraries = json_get(json_get(config, "model_operations"), "op_library_filename");
  for (const Json *library = libraries ? libraries->first : NULL; library; library = library->next) {
    CHECK(register_library(config, folder, json_text(library, ""), options));
  }
  return NULL;
}

Error *make_options(const Json *config, const char *folder, Options **made) {
  ORT_CHECK(ort.create_options(made));
  Error *error = set_options(config, folder, *made);
  if (error) {
    ort.release_options(*made);
    *made = NULL;
  }
  return error;
}

enum { MOST_CUDA_OPTIONS = 32 };
typedef struct {
  const char *keys[MOST_CUDA_OPTIONS], *values[MOST_CUDA_OPTIONS];
  size_t count;
} Pairs;

static void set_pair(Pairs *pairs, const char *key, const char *value) {
  for (size_t index = 0; index < pairs->count; index++)
    if (!strcmp(pairs->keys[index], key)) {
      pairs->values[index] = value;
      return;
    }
  if (pairs->count == MOST_CUDA_OPTIONS) return;
  pairs->keys[pairs->count] = key;
  pairs->values[pairs->count++] = value;
}

/* A parameter of a few choices, by number, as the C++ backend has it. */
static Error *set_choice(Pairs *pairs, const Json *config, const char *name, const char *const *choices, int count) {
  int choice;
  if (!parameter(config, name, NULL)) return NULL;
  CHECK(integer(config, name, &choice));
  if (choice < 0 || choice >= count)
    return failed(ERROR_INVALID_ARG, "parameter %s is 0 to %d, the config says %d", name, count - 1, choice);
  set_pair(pairs, name, choices[choice]);
  return NULL;
}

/* The parameters of the model, then those of its execution accelerator `cuda`. */
static Error *collect_cuda_options(const Json *config, const char *model, Pairs *pairs) {
  static const char *const searches[] = {"EXHAUSTIVE", "HEURISTIC", "DEFAULT"};
  static const char *const growths[] = {"kNextPowerOfTwo", "kSameAsRequested"};
  static const char *const plain[] = {"gpu_mem_limit", "do_copy_in_default_stream", "cudnn_conv_use_max_workspace",
                                      "cudnn_conv1d_pad_to_nc1d", "use_tf32",
                                      "use_ep_level_unified_stream", "prefer_nhwc"};
  /* EXHAUSTIVE, the C++ backend's own, costs each new batch size up to a second. */
  set_pair(pairs, "cudnn_conv_algo_search", "HEURISTIC");
  set_pair(pairs, "use_tf32", "0");
  CHECK(set_choice(pairs, config, "cudnn_conv_algo_search", searches, 3));
  CHECK(set_choice(pairs, config, "arena_extend_strategy", growths, 2));
  for (size_t index = 0; index < sizeof plain / sizeof *plain; index++) {
    const char *value = parameter(config, plain[index], NULL);
    if (value) set_pair(pairs, plain[index], value);
  }
  const Json *accelerators = json_get(
      json_get(json_get(config, "optimization"), "execution_accelerators"), "gpu_execution_accelerator");
  for (const Json *one = accelerators ? accelerators->first : NULL; one; one = one->next) {
    const char *name = json_text(json_get(one, "name"), "");
    if (strcmp(name, "cuda")) {
      say(LOG_WARN, "%s: the execution accelerator '%s' is not used on this server", model, name);
      continue;
    }
    const Json *parameters = json_get(one, "parameters");
    for (const Json *each = parameters ? parameters->first : NULL; each; each = each->next)
      set_pair(pairs, each->key, json_text(each, ""));
  }
  return NULL;
}

static bool has_cuda(void) {
  char **names = NULL;
  int count = 0;
  bool found = false;
  Status *status = ort.available_providers(&names, &count);
  if (status) {
    ort.release_status(status);
    return false;
  }
  for (int index = 0; index < count; index++) found |= !strcmp(names[index], "CUDAExecutionProvider");
  status = ort.release_providers(names, count);
  if (status) ort.release_status(status);
  return found;
}

static Error *fill_cuda(CudaOptions *cuda, Pairs *pairs, void *stream) {
  Error *error = ort_failed(ort.set_cuda_options(cuda, pairs->keys, pairs->values, pairs->count), "onnxruntime");
  if (error) return error;
  if (stream) ORT_CHECK(ort.set_cuda_option_value(cuda, "user_compute_stream", stream));
  return NULL;
}

Error *use_cuda(const Json *config, const char *model, Options *options, int32_t device, void *stream, bool *works) {
  Pairs pairs = {0};
  Text number = {0};
  CudaOptions *cuda = NULL;
  *works = false;
  if (!has_cuda()) {
    say(LOG_WARN,
        "%s: KIND_GPU wanted, but this onnxruntime has no CUDA: running on the CPU (pip install onnxruntime-gpu)",
        model);
    return NULL;
  }
  CHECK(collect_cuda_options(config, model, &pairs));
  add_text(&number, "%d", device);
  if (!number.content) return out_of_memory(16);
  set_pair(&pairs, "device_id", number.content);
  if (stream) set_pair(&pairs, "has_user_compute_stream", "1");
  if (stream && wants_replays(config)) set_pair(&pairs, "enable_cuda_graph", "1");
  Error *error = ort_failed(ort.create_cuda_options(&cuda), "onnxruntime");
  if (!error) {
    error = fill_cuda(cuda, &pairs, stream);
    Error *unusable = error ? NULL : ort_failed(ort.add_cuda(options, cuda), "onnxruntime");
    *works = !error && !unusable;
    if (unusable) {
      say(LOG_WARN, "%s: onnxruntime could not use CUDA here: running on the CPU (%s)", model,
          TRITONSERVER_ErrorMessage(unusable));
      TRITONSERVER_ErrorDelete(unusable);
    }
    ort.release_cuda_options(cuda);
  }
  free(number.content);
  return error;
}
