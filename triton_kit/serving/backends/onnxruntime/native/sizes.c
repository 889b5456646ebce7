#define _GNU_SOURCE
/* Sessions for fixed batch sizes on a GPU.
 *
 * The CUDA provider plans every convolution anew when the shape of its input differs from
 * that of the run before: about 200 ms per run of a ResNet-50 while batch sizes change.
 * So an instance keeps one session per batch size of a short list, and a batch between two
 * of them is padded to the larger one. Models without convolutions need none of this. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run.h"

enum { MOST_SIZES = 64 };
/* Every session has a copy of the weights. */
static const uint64_t LARGEST_MODEL_BYTES = 256u << 20;

static const char *given_sizes(const Json *config) {
  return json_text(json_get(json_get(json_get(config, "parameters"), "cuda_batch_sizes"), "string_value"), "auto");
}

/* The bytes of a model with the weights beside it. */
static uint64_t model_bytes(const char *artifact) {
  char path[4096];
  snprintf(path, sizeof path, "%s", artifact);
  char *slash = strrchr(path, '/');
  if (!slash) return UINT64_MAX;
  DIR *folder = (*slash = 0, opendir(path));
  if (!folder) return UINT64_MAX;
  uint64_t bytes = 0;
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    struct stat status;
    if (!fstatat(dirfd(folder), entry->d_name, &status, 0) && S_ISREG(status.st_mode)) bytes += (uint64_t)status.st_size;
  }
  closedir(folder);
  return bytes;
}

/* Whether the file has a node of type Conv or ConvTranspose: field 4 of a NodeProto. */
static bool has_convolutions(const char *artifact) {
  static const char *const fields[] = {"\x22\x04" "Conv", "\x22\x0d" "ConvTranspose"};
  FILE *file = fopen(artifact, "rb");
  if (!file) return false;
  struct stat status;
  bool found = false;
  char *content = fstat(fileno(file), &status) ? NULL : malloc((size_t)status.st_size + 1);
  const size_t bytes = content ? fread(content, 1, (size_t)status.st_size, file) : 0;
  for (size_t index = 0; content && index < 2 && !found; index++)
    found = memmem(content, bytes, fields[index], strlen(fields[index])) != NULL;
  free(content);
  fclose(file);
  return found;
}

static int by_size(const void *one, const void *other) {
  const int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
  return (a > b) - (a < b);
}

static void add_size(int64_t *sizes, size_t *count, int64_t size, int64_t largest) {
  if (size < 1 || size > largest || *count == MOST_SIZES) return;
  for (size_t index = 0; index < *count; index++)
    if (sizes[index] == size) return;
  sizes[(*count)++] = size;
}

/* Powers of two, the preferred sizes and the largest. */
static void default_sizes(const Json *config, int64_t largest, int64_t *sizes, size_t *count) {
  add_size(sizes, count, largest, largest);
  for (int64_t size = 1; size < largest; size *= 2) add_size(sizes, count, size, largest);
  const Json *preferred = json_get(json_get(config, "dynamic_batching"), "preferred_batch_size");
  for (const Json *each = preferred ? preferred->first : NULL; each; each = each->next)
    add_size(sizes, count, json_integer(each, 0), largest);
}

static Error *parse_sizes(const char *text, int64_t largest, int64_t *sizes, size_t *count) {
  add_size(sizes, count, largest, largest);
  for (const char *at = text; *at;) {
    char *rest;
    const long long size = strtoll(at, &rest, 10);
    if (rest == at || size < 1 || size > largest || (*rest && *rest != ','))
      return failed(ERROR_INVALID_ARG,
                    "parameter cuda_batch_sizes is auto, off, or sizes of 1 to %lld with commas, the config says '%s'",
                    (long long)largest, text);
    add_size(sizes, count, size, largest);
    at = *rest ? rest + 1 : rest;
  }
  return NULL;
}

static bool can_be_padded(const Graph *graph) {
  if (graph->has_ragged) return false;
  for (size_t index = 0; index < graph->source_count; index++)
    if (graph->sources[index].made || graph->sources[index].tensor.type == ORT_STRING) return false;
  return true;
}

static Error *choose_sizes(const InstanceState *instance, int64_t *sizes, size_t *count) {
  const ModelState *model = instance->model;
  const char *given = given_sizes(model->config);
  const bool replays = wants_replays(model->config);
  if (replays && model->max_batch_size < 2) add_size(sizes, count, 1, 1);
  if (model->max_batch_size < 2 || !strcmp(given, "off") || !can_be_padded(instance->graph)) return NULL;
  if (strcmp(given, "auto")) return parse_sizes(given, model->max_batch_size, sizes, count);
  if (replays || (model_bytes(model->artifact) <= LARGEST_MODEL_BYTES && has_convolutions(model->artifact)))
    default_sizes(model->config, model->max_batch_size, sizes, count);
  return NULL;
}

Error *open_sizes(InstanceState *instance, const Options *options) {
  int64_t sizes[MOST_SIZES];
  size_t count = 0;
  CHECK(choose_sizes(instance, sizes, &count));
  if (!count) return NULL;
  qsort(sizes, count, sizeof *sizes, by_size);
  instance->sizes = calloc(count, sizeof *instance->sizes);
  if (!instance->sizes) return out_of_memory(count * sizeof *instance->sizes);
  for (size_t index = 0; index < count; index++) {
    Sized *sized = &instance->sizes[instance->size_count++];
    sized->rows = sizes[index];
    if (index + 1 == count) /* the one that is open already runs the largest */
      sized->session = instance->graph->session;
    else
      ORT_CHECK(ort.create_session(ort_env, instance->model->artifact, options, &sized->session));
    ORT_CHECK(ort.create_binding(sized->session, &sized->binding));
  }
  return NULL;
}

void close_sizes(InstanceState *instance) {
  for (size_t index = 0; index < instance->size_count; index++) {
    if (instance->sizes[index].binding) ort.release_binding(instance->sizes[index].binding);
    Session *session = instance->sizes[index].session;
    if (session && session != instance->graph->session) ort.release_session(session);
  }
  free(instance->sizes);
  instance->sizes = NULL;
  instance->size_count = 0;
}

Sized *size_for(const InstanceState *instance, int64_t rows) {
  for (size_t index = 0; index < instance->size_count && rows > 0; index++)
    if (instance->sizes[index].rows >= rows) return &instance->sizes[index];
  return NULL;
}
