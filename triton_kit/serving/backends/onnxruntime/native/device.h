/* Memory and copies: plain on the CPU; on a GPU by CUDA's driver, if the machine has one. */
#pragma once
#include "common.h"

/* Memory that is kept from run to run and grows; on a GPU, or pinned, or plain. */
typedef struct {
  void *data;
  uint64_t bytes;
  Memory memory;
} Buffer;

/* Make a stream on a GPU; its context becomes that of the calling thread. */
Error *open_stream(int32_t device, void **stream);
void close_stream(int32_t device, void *stream);
/* Make the context of a GPU that of the calling thread. */
Error *enter_device(int32_t device);

Error *reserve(Buffer *buffer, Memory memory, uint64_t bytes);
void release_buffer(Buffer *buffer);

/* Copy between any two places, on the stream if one of them is on a GPU. */
Error *copy(void *to, Memory to_memory, const void *from, Memory from_memory, uint64_t bytes, void *stream);
/* Wait for the copies on a stream; nothing for NULL. */
Error *wait_for_copies(void *stream);
