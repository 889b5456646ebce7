/* Read JSON as Triton writes it: model configs and the backend's own config. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } JsonKind;

/* One value; the members of an object and the items of an array are a list. */
typedef struct Json {
  JsonKind kind;
  char *key;               /* in an object */
  char *text;              /* of a string, decoded; of a number or boolean, as written */
  const char *begin, *end; /* its place in the text that was read */
  struct Json *first, *next;
} Json;

/* Return the value, or NULL where the text is not JSON or memory is short. */
Json *read_json(const char *text, size_t bytes);
void free_json(Json *);

/* All take NULL for a value that is not there. */
const Json *json_get(const Json *, const char *key);
const char *json_text(const Json *, const char *otherwise);
/* Triton writes integers of 64 bits as strings. */
int64_t json_integer(const Json *, int64_t otherwise);
bool json_is_true(const Json *);
size_t json_count(const Json *);
