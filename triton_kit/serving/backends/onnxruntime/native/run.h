/* Requests on their way through one run of a graph. */
#pragma once
#include "device.h"
#include "graph.h"

/* One input of one request, as Triton has it. */
typedef struct {
  Input *input; /* NULL: the request does not bring it */
  const int64_t *shape;
  uint32_t axes, buffers;
  uint64_t bytes;
  int64_t elements;
} Piece;

/* One request. */
typedef struct {
  Request *request;
  Piece *pieces;    /* by source */
  bool *wants;      /* by result: whether the client wants it */
  State **states;   /* by result */
  int64_t rows;     /* its share of the batch; 1 where the model takes none */
  Response *response;
  Error *error;     /* why it fails */
  bool is_grouped, has_response;
  uint64_t compute_ns, computed_ns;
} Part;

/* A session that runs one batch size; smaller batches are padded to it. */
typedef struct {
  int64_t rows;
  Session *session;
  Binding *binding;
  bool is_recorded; /* its next run is a replay */
} Sized;

typedef struct {
  Instance *triton;
  ModelState *model;
  Graph *graph;
  bool owns_graph;
  /* Kept from run to run: memory of joined inputs by source, arguments of a run. */
  Buffer *joined, *on_device;
  Buffer parts;
  const char **input_names, **output_names;
  Value **input_values, **output_values;
  size_t *output_places;
  /* Only on a GPU. */
  Binding *binding;
  MemoryInfo *gpu_memory, *pinned_memory;
  Sized *sizes; /* smallest first */
  size_t size_count;
  /* Only where runs are replayed: memory of outputs by result, on the GPU and fetched from there. */
  Buffer *results, *fetched;
  /* Of the run under way. */
  Sized *size; /* NULL: the batch is run as it is */
  int64_t rows;
} InstanceState;

/* Open a session per batch size, where that pays; the graph is open already. */
Error *open_sizes(InstanceState *instance, const Options *options);
void close_sizes(InstanceState *instance);
/* Return the smallest size that takes so many rows; NULL: none. */
Sized *size_for(const InstanceState *instance, int64_t rows);

/* Whether a config asks for CUDA graphs: runs that are recorded once, then replayed. */
bool wants_replays(const Json *config);
/* Give every size inputs and outputs that never move; the instance has its memory by then. */
Error *open_replays(InstanceState *instance);
void close_replays(InstanceState *instance);
/* Run the size of the run under way; its inputs are in their places. */
Error *run_replay(InstanceState *instance, size_t outputs, const bool *on_device);
/* Hold others off a GPU while a run is recorded there; all else shares it. */
void lock_devices(bool records);
void unlock_devices(void);

/* Read what a request brings and wants; `part` has its request. */
Error *read_part(const InstanceState *instance, Part *part);
/* Whether two requests can share a run. */
bool go_together(const Graph *graph, const Part *one, const Part *other);

/* Join an input of several requests into one value, in the order of the requests. */
Error *join_input(InstanceState *instance, size_t source, Part **parts, size_t count, Value **value);
/* Make the value of an input that no request brings (batch_input). */
Error *make_input(InstanceState *instance, size_t source, Part **parts, size_t count, Value **value);

/* Give each request its share of an output: into its response, its state, or both. */
Error *split_output(InstanceState *instance, size_t result, Value *value, Memory memory, Part **parts, size_t count);

/* Run the graph for all requests; each has a response or an error afterwards. */
void run_parts(InstanceState *instance, Part **parts, size_t count, uint64_t start_ns);
