/* An op library for the tests: Triple(x), float32 [1, 4], is 3 * x; it crashes where x[0] is below 0.
 * Declarations of its own, by their places in ONNX Runtime's tables. */
#include <stddef.h>
#include <stdint.h>

typedef struct Op Op;
typedef void *(*Function)();
struct Op {
  uint32_t version;
  void *(*create)(const Op *, const Function *api, const void *info);
  const char *(*name)(const Op *);
  const char *(*provider)(const Op *);
  int (*input_type)(const Op *, size_t);
  size_t (*input_count)(const Op *);
  int (*output_type)(const Op *, size_t);
  size_t (*output_count)(const Op *);
  void (*compute)(void *kernel, void *context);
  void (*destroy)(void *kernel);
  int (*input_kind)(const Op *, size_t);
  int (*output_kind)(const Op *, size_t);
};
enum { API = 8, FLOAT = 1, ADD_TO_DOMAIN = 27, ADD_DOMAIN = 28, DOMAIN = 26, DATA = 51, INPUT = 90, OUTPUT = 91 };

static const Function *ort;

static void *create(const Op *op, const Function *api, const void *info) { return (void *)op; }
static const char *name(const Op *op) { return "Triple"; }
static const char *provider(const Op *op) { return NULL; }
static int type(const Op *op, size_t index) { return FLOAT; }
static size_t one(const Op *op) { return 1; }
static int required(const Op *op, size_t index) { return 0; }
static void destroy(void *kernel) {}

static void compute(void *kernel, void *context) {
  const int64_t shape[] = {1, 4};
  void *x_value, *y_value;
  float *x, *y;
  ((void *(*)(void *, size_t, void **))ort[INPUT])(context, 0, &x_value);
  ((void *(*)(void *, size_t, const int64_t *, size_t, void **))ort[OUTPUT])(context, 0, shape, 2, &y_value);
  ((void *(*)(void *, float **))ort[DATA])(x_value, &x);
  ((void *(*)(void *, float **))ort[DATA])(y_value, &y);
  if (x[0] < 0) *(volatile int *)0 = 1;
  for (int index = 0; index < 4; index++) y[index] = 3 * x[index];
}

static const Op triple = {API, create, name, provider, type, one, type, one, compute, destroy, required, required};

void *RegisterCustomOps(void *options, const Function *base) {
  void *domain;
  ort = ((const Function *(*)(uint32_t))base[0])(API);
  ((void *(*)(const char *, void **))ort[DOMAIN])("tests", &domain);
  ((void *(*)(void *, const Op *))ort[ADD_TO_DOMAIN])(domain, &triple);
  return ((void *(*)(void *, void *))ort[ADD_DOMAIN])(options, domain);
}
