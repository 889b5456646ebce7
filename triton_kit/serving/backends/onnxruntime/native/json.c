#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64 };

typedef struct {
  const char *at, *end;
} Reader;

static void skip_space(Reader *reader) {
  while (reader->at < reader->end && strchr(" \t\r\n", *reader->at)) reader->at++;
}

static bool take(Reader *reader, char wanted) {
  skip_space(reader);
  if (reader->at >= reader->end || *reader->at != wanted) return false;
  reader->at++;
  return true;
}

static bool hex4(Reader *reader, uint32_t *code) {
  *code = 0;
  for (int digit = 0; digit < 4; digit++, reader->at++) {
    if (reader->at >= reader->end) return false;
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = *reader->at ? strchr(digits, *reader->at) : NULL;
    if (!found) return false;
    *code = *code << 4 | (uint32_t)((found - digits) % 16);
  }
  return true;
}

static char *put_utf8(char *to, uint32_t code) {
  if (code < 0x80) {
    *to++ = (char)code;
  } else if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
    *to++ = (char)(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    *to++ = (char)(0xe0 | code >> 12);
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  } else {
    *to++ = (char)(0xf0 | code >> 18);
    *to++ = (char)(0x80 | (code >> 12 & 0x3f));
    *to++ = (char)(0x80 | (code >> 6 & 0x3f));
    *to++ = (char)(0x80 | (code & 0x3f));
  }
  return to;
}

static bool read_escape(Reader *reader, char **to) {
  static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
  if (reader->at >= reader->end) return false;
  const char letter = *reader->at++;
  uint32_t code, low;
  if (letter == 'u') {
    if (!hex4(reader, &code)) return false;
    if (code >= 0xd800 && code < 0xdc00) {
      if (reader->end - reader->at < 6 || reader->at[0] != '\\' || reader->at[1] != 'u') return false;
      reader->at += 2;
      if (!hex4(reader, &low) || low < 0xdc00 || low > 0xdfff) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = put_utf8(*to, code);
    return true;
  }
  const char *found = letter ? strchr(letters, letter) : NULL;
  if (!found) return false;
  *(*to)++ = values[found - letters];
  return true;
}

/* The decoded string is never longer than what is written. */
static char *read_string(Reader *reader) {
  if (!take(reader, '"')) return NULL;
  char *text = malloc((size_t)(reader->end - reader->at) + 1), *to = text;
  if (!text) return NULL;
  while (reader->at < reader->end && *reader->at != '"') {
    if (*reader->at != '\\') {
      *to++ = *reader->at++;
      continue;
    }
    reader->at++;
    if (!read_escape(reader, &to)) {
      free(text);
      return NULL;
    }
  }
  *to = 0;
  char *fitting = realloc(text, (size_t)(to - text) + 1);
  if (fitting) text = fitting;
  if (take(reader, '"')) return text;
  free(text);
  return NULL;
}

static Json *read_value(Reader *reader, int depth);

static bool read_members(Reader *reader, Json *value, char close, int depth) {
  Json **last = &value->first;
  reader->at++;
  if (take(reader, close)) return true;
  do {
    char *key = NULL;
    if (value->kind == JSON_OBJECT && (!(key = read_string(reader)) || !take(reader, ':'))) {
      free(key);
      return false;
    }
    Json *member = read_value(reader, depth + 1);
    if (!member) {
      free(key);
      return false;
    }
    member->key = key;
    *last = member;
    last = &member->next;
  } while (take(reader, ','));
  return take(reader, close);
}

static bool read_word(Reader *reader, Json *value) {
  const char *begin = reader->at;
  while (reader->at < reader->end && *reader->at && !strchr(" \t\r\n,]}", *reader->at)) reader->at++;
  const size_t length = (size_t)(reader->at - begin);
  if (!length || !(value->text = malloc(length + 1))) return false;
  memcpy(value->text, begin, length);
  value->text[length] = 0;
  if (!strcmp(value->text, "null"))
    value->kind = JSON_NULL;
  else if (!strcmp(value->text, "true") || !strcmp(value->text, "false"))
    value->kind = JSON_BOOL;
  else {
    char *rest;
    strtod(value->text, &rest);
    value->kind = JSON_NUMBER;
    return !*rest;
  }
  return true;
}

static Json *read_value(Reader *reader, int depth) {
  skip_space(reader);
  Json *value = calloc(1, sizeof *value);
  bool is_whole = false;
  if (!value || reader->at >= reader->end || depth > DEEPEST) {
    free(value);
    return NULL;
  }
  value->begin = reader->at;
  if (*reader->at == '{') {
    value->kind = JSON_OBJECT;
    is_whole = read_members(reader, value, '}', depth);
  } else if (*reader->at == '[') {
    value->kind = JSON_ARRAY;
    is_whole = read_members(reader, value, ']', depth);
  } else if (*reader->at == '"') {
    value->kind = JSON_STRING;
    is_whole = (value->text = read_string(reader)) != NULL;
  } else {
    is_whole = read_word(reader, value);
  }
  value->end = reader->at;
  if (is_whole) return value;
  free_json(value);
  return NULL;
}

Json *read_json(const char *text, size_t bytes) {
  Reader reader = {text, text + bytes};
  Json *value = read_value(&reader, 0);
  skip_space(&reader);
  if (reader.at == reader.end) return value;
  free_json(value);
  return NULL;
}

void free_json(Json *value) {
  while (value) {
    Json *next = value->next;
    free_json(value->first);
    free(value->key);
    free(value->text);
    free(value);
    value = next;
  }
}

const Json *json_get(const Json *object, const char *key) {
  if (!object || object->kind != JSON_OBJECT) return NULL;
  for (const Json *member = object->first; member; member = member->next)
    if (!strcmp(member->key, key)) return member;
  return NULL;
}

const char *json_text(const Json *value, const char *otherwise) {
  return value && value->kind == JSON_STRING ? value->text : otherwise;
}

int64_t json_integer(const Json *value, int64_t otherwise) {
  if (!value || (value->kind != JSON_NUMBER && value->kind != JSON_STRING)) return otherwise;
  char *rest;
  const long long number = strtoll(value->text, &rest, 10);
  return *value->text && !*rest ? number : otherwise;
}

bool json_is_true(const Json *value) { return value && value->kind == JSON_BOOL && *value->text == 't'; }

size_t json_count(const Json *list) {
  size_t count = 0;
  for (const Json *item = list ? list->first : NULL; item; item = item->next) count++;
  return count;
}
