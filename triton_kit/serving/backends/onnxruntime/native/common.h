/* What every file here uses: errors with a text, formatted text, the clock. */
#pragma once
#include "triton.h"

#define TEXT_LIKE(text, first) __attribute__((format(printf, text, first)))

/* Return from the calling function with the error of a call, if it has one. */
#define CHECK(call)              \
  do {                           \
    Error *problem_ = (call);    \
    if (problem_) return problem_; \
  } while (0)

/* Call Triton where a failure changes nothing. */
#define DROP(call)                                        \
  do {                                                    \
    Error *dropped_ = (call);                             \
    if (dropped_) TRITONSERVER_ErrorDelete(dropped_);     \
  } while (0)

Error *failed(ErrorCode code, const char *format, ...) TEXT_LIKE(2, 3);
Error *out_of_memory(uint64_t bytes);
void say(LogLevel level, const char *format, ...) TEXT_LIKE(2, 3);

/* Text that grows; `content` is NULL after a failed allocation, else a string. */
typedef struct {
  char *content;
  size_t used, size;
} Text;
void add_text(Text *text, const char *format, ...) TEXT_LIKE(2, 3);
void add_shape(Text *text, const int64_t *shape, size_t axes);
void add_json_string(Text *text, const char *content);

uint64_t now_ns(void);

/* Multiply the sizes of axes; false where one is negative or the product does not fit. */
bool count_elements(const int64_t *shape, size_t axes, int64_t *elements);

/* While a thread runs a model, a crash report names it (NULL: none). */
void set_crash_name(const char *model);
