#define _GNU_SOURCE
#include "common.h"

#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

Error *failed(ErrorCode code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *message = NULL;
  if (vasprintf(&message, format, arguments) < 0) message = NULL;
  va_end(arguments);
  Error *error = TRITONSERVER_ErrorNew(code, message ? message : "out of memory");
  free(message);
  return error;
}

Error *out_of_memory(uint64_t bytes) {
  return failed(ERROR_UNAVAILABLE, "out of memory: %llu bytes cannot be allocated", (unsigned long long)bytes);
}

void say(LogLevel level, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *message = NULL;
  if (vasprintf(&message, format, arguments) >= 0) {
    DROP(TRITONSERVER_LogMessage(level, "onnxruntime", 0, message));
    free(message);
  }
  va_end(arguments);
}

static bool make_room(Text *text, size_t more) {
  if (text->size && !text->content) return false;  /* it failed before */
  if (text->content && text->used + more + 1 <= text->size) return true;
  size_t size = 2 * (text->used + more + 1);
  char *grown = realloc(text->content, size);
  if (!grown) {
    free(text->content);
    text->content = NULL;
    text->size = 1;
    return false;
  }
  text->content = grown;
  text->size = size;
  return true;
}

void add_text(Text *text, const char *format, ...) {
  va_list arguments, again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int length = vsnprintf(NULL, 0, format, arguments);
  va_end(arguments);
  if (length >= 0 && make_room(text, (size_t)length)) {
    vsnprintf(text->content + text->used, (size_t)length + 1, format, again);
    text->used += (size_t)length;
  }
  va_end(again);
}

void add_shape(Text *text, const int64_t *shape, size_t axes) {
  add_text(text, "[");
  for (size_t axis = 0; axis < axes; axis++) add_text(text, "%s%lld", axis ? ", " : "", (long long)shape[axis]);
  add_text(text, "]");
}

void add_json_string(Text *text, const char *content) {
  add_text(text, "\"");
  for (const char *at = content; *at; at++) {
    if (*at == '"' || *at == '\\')
      add_text(text, "\\%c", *at);
    else if ((unsigned char)*at < 0x20)
      add_text(text, "\\u%04x", *at);
    else
      add_text(text, "%c", *at);
  }
  add_text(text, "\"");
}

uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

bool count_elements(const int64_t *shape, size_t axes, int64_t *elements) {
  *elements = 1;
  for (size_t axis = 0; axis < axes; axis++)
    if (shape[axis] < 0 || __builtin_mul_overflow(*elements, shape[axis], elements)) return false;
  return true;
}

/* A crash inside ONNX Runtime ends the server: its log then says which model ran. */

static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
enum { CRASHES = sizeof crashes / sizeof *crashes };
static struct sigaction before[CRASHES];
static _Thread_local const char *running_model;

static void write_all(const char *text) {
  if (write(STDERR_FILENO, text, strlen(text)) < 0) return;
}

static void report_crash(int number, siginfo_t *info, void *context) {
  if (running_model) {
    write_all("onnxruntime backend: crashed while it ran model '");
    write_all(running_model);
    write_all("'\n");
  }
  for (int index = 0; index < CRASHES; index++) {
    if (crashes[index] != number) continue;
    struct sigaction *next = &before[index];
    sigaction(number, next, NULL);
    if (next->sa_flags & SA_SIGINFO)
      next->sa_sigaction(number, info, context);
    else if (next->sa_handler != SIG_DFL && next->sa_handler != SIG_IGN)
      next->sa_handler(number);
    else
      raise(number);
  }
}

static bool is_reported(int signal) {
  struct sigaction now;
  return !sigaction(signal, NULL, &now) && now.sa_flags & SA_SIGINFO && now.sa_sigaction == report_crash;
}

/* The server sets its own handlers once its models are loaded, so ours are set when a model runs. */
static void install_crash_report(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  struct sigaction action = {.sa_sigaction = report_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigemptyset(&action.sa_mask);
  pthread_mutex_lock(&lock);
  for (int index = 0; index < CRASHES; index++)
    if (!is_reported(crashes[index])) sigaction(crashes[index], &action, &before[index]);
  pthread_mutex_unlock(&lock);
}

void set_crash_name(const char *model) {
  if (model && !is_reported(SIGSEGV)) install_crash_report();
  running_model = model;
}
