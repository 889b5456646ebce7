/* A graph that ONNX Runtime has opened, and what its model's config says of its tensors. */
#pragma once
#include <pthread.h>

#include "json.h"
#include "ort.h"

enum { MOST_AXES = 32 };

typedef struct {
  char *name;
  int type; /* ONNX Runtime's; 0 where it is no tensor */
  size_t axes;
  int64_t shape[MOST_AXES]; /* -1: an axis that varies */
} Tensor;

/* How an input is made that no request brings (ModelConfig.batch_input). */
typedef enum {
  NOT_MADE,
  ELEMENT_COUNT,
  ACCUMULATED_ELEMENT_COUNT,
  ACCUMULATED_ELEMENT_COUNT_WITH_ZERO,
  MAX_ELEMENT_COUNT_AS_SHAPE,
  ITEM_SHAPE,
  ITEM_SHAPE_FLATTEN
} MadeKind;

/* An input of the graph. */
typedef struct {
  Tensor tensor;
  bool is_optional; /* the graph has a value of its own */
  bool is_ragged;   /* requests are joined element by element, whatever their shapes */
  MadeKind made;
  size_t made_from; /* the input whose shapes are reported */
} Source;

/* An output of the graph. */
typedef struct {
  Tensor tensor;
  bool is_output; /* a client may ask for it */
  bool is_state;  /* the sequence batcher keeps it */
  bool is_scalar; /* without axes: a config gives it axes of size 1 */
  bool is_scattered; /* its elements are split by the shapes of an input (batch_output) */
  size_t scattered_by;
  size_t told_axes;
  int64_t told[MOST_AXES]; /* the config's dims, for scalar and scattered ones */
} Result;

typedef struct {
  Session *session;
  Source *sources;
  size_t source_count;
  Result *results;
  size_t result_count;
  bool has_ragged;
  int32_t device; /* a GPU, or -1 */
  void *stream;   /* its CUDA stream */
} Graph;

typedef struct {
  Model *triton;
  const char *name;
  Message *message; /* the text that `config` points into */
  Json *config;
  char *artifact;
  Options *options;
  int64_t max_batch_size;
  pthread_mutex_t lock; /* around cpu_graph */
  Graph *cpu_graph;     /* shared by all instances on the CPU */
} ModelState;

/* The settings of a model as C++'s backend names them. */
Error *make_options(const Json *config, const char *folder, Options **options);
/* Let options use a GPU; where it cannot be used, say so and return false in `works`. */
Error *use_cuda(const Json *config, const char *model, Options *options, int32_t device, void *stream, bool *works);

Error *find_artifact(const Json *config, const char *folder, uint64_t version, char **artifact);
Error *open_graph(const char *artifact, const Options *options, Graph **graph);
void close_graph(Graph *graph);

/* Fill in what a config leaves out; `completed` is the whole new config as JSON. */
Error *complete_config(const Json *config, const Graph *graph, int64_t default_max_batch_size, Text *completed);
/* Refuse a config that does not go with the graph, and note in the graph what it says. */
Error *apply_config(const Json *config, Graph *graph);
