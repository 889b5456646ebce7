/* What this backend uses of ONNX Runtime's C API, by place in its table of functions.
 *
 * The table only ever grows (onnxruntime_c_api.h), so a place holds for every later
 * release. Version 16 of it (onnxruntime 1.16) has all places below.
 */
#pragma once
#include "common.h"

enum { ORT_API_VERSION = 16, ORT_LOG_WARNING = 2, ORT_TENSOR = 1 };

typedef struct OrtStatus Status;
typedef struct OrtEnv Env;
typedef struct OrtSession Session;
typedef struct OrtSessionOptions Options;
typedef struct OrtRunOptions RunOptions;
typedef struct OrtValue Value;
typedef struct OrtMemoryInfo MemoryInfo;
typedef struct OrtAllocator Allocator;
typedef struct OrtTypeInfo TypeInfo;
typedef struct OrtTensorTypeAndShapeInfo ShapeInfo;
typedef struct OrtIoBinding Binding;
typedef struct OrtCUDAProviderOptionsV2 CudaOptions;

/* F(place, result, name, arguments) */
#define ORT_FUNCTIONS(F)                                                                          \
  F(2, const char *, error_message, (const Status *))                                             \
  F(3, Status *, create_env, (int log_level, const char *name, Env **))                           \
  F(7, Status *, create_session, (Env *, const char *path, const Options *, Session **))          \
  F(9, Status *, run, (Session *, const RunOptions *, const char *const *inputs,                  \
                       const Value *const *, size_t, const char *const *outputs, size_t, Value **)) \
  F(10, Status *, create_options, (Options **))                                                   \
  F(12, Status *, clone_options, (const Options *, Options **))                                   \
  F(13, Status *, set_execution_mode, (Options *, int))                                           \
  F(17, Status *, disable_memory_pattern, (Options *))                                            \
  F(19, Status *, disable_cpu_arena, (Options *))                                                 \
  F(23, Status *, set_optimization, (Options *, int))                                             \
  F(24, Status *, set_intra_threads, (Options *, int))                                            \
  F(25, Status *, set_inter_threads, (Options *, int))                                            \
  F(29, Status *, register_custom_ops, (Options *, const char *path, void **library))             \
  F(30, Status *, input_count, (const Session *, size_t *))                                       \
  F(31, Status *, output_count, (const Session *, size_t *))                                      \
  F(32, Status *, optional_count, (const Session *, size_t *))                                    \
  F(33, Status *, input_type, (const Session *, size_t, TypeInfo **))                             \
  F(34, Status *, output_type, (const Session *, size_t, TypeInfo **))                            \
  F(35, Status *, optional_type, (const Session *, size_t, TypeInfo **))                          \
  F(36, Status *, input_name, (const Session *, size_t, Allocator *, char **))                    \
  F(37, Status *, output_name, (const Session *, size_t, Allocator *, char **))                   \
  F(38, Status *, optional_name, (const Session *, size_t, Allocator *, char **))                 \
  F(48, Status *, create_tensor, (Allocator *, const int64_t *shape, size_t axes, int type, Value **)) \
  F(49, Status *, wrap_tensor, (const MemoryInfo *, void *, size_t bytes, const int64_t *shape,   \
                                size_t axes, int type, Value **))                                 \
  F(50, Status *, is_tensor, (const Value *, int *))                                              \
  F(51, Status *, tensor_data, (Value *, void **))                                                \
  F(53, Status *, string_bytes, (const Value *, size_t *))                                        \
  F(54, Status *, strings, (const Value *, void *, size_t bytes, size_t *offsets, size_t count))  \
  F(55, Status *, as_tensor_type, (const TypeInfo *, const ShapeInfo **))                         \
  F(56, Status *, kind_of_type, (const TypeInfo *, int *))                                        \
  F(60, Status *, element_type, (const ShapeInfo *, int *))                                       \
  F(61, Status *, axes, (const ShapeInfo *, size_t *))                                            \
  F(62, Status *, shape, (const ShapeInfo *, int64_t *, size_t axes))                             \
  F(65, Status *, shape_info, (const Value *, ShapeInfo **))                                      \
  F(68, Status *, create_memory_info, (const char *name, int allocator, int id, int kind, MemoryInfo **)) \
  F(69, Status *, create_cpu_memory_info, (int allocator, int kind, MemoryInfo **))               \
  F(76, Status *, free_with, (Allocator *, void *))                                               \
  F(78, Status *, default_allocator, (Allocator **))                                              \
  F(92, void, release_env, (Env *))                                                               \
  F(93, void, release_status, (Status *))                                                         \
  F(94, void, release_memory_info, (MemoryInfo *))                                                \
  F(95, void, release_session, (Session *))                                                       \
  F(96, void, release_value, (Value *))                                                           \
  F(98, void, release_type, (TypeInfo *))                                                         \
  F(99, void, release_shape, (ShapeInfo *))                                                       \
  F(100, void, release_options, (Options *))                                                      \
  F(125, Status *, available_providers, (char ***, int *count))                                   \
  F(126, Status *, release_providers, (char **, int count))                                       \
  F(130, Status *, add_session_entry, (Options *, const char *key, const char *value))            \
  F(133, Status *, run_bound, (Session *, const RunOptions *, const Binding *))                   \
  F(134, Status *, create_binding, (Session *, Binding **))                                       \
  F(135, void, release_binding, (Binding *))                                                      \
  F(136, Status *, bind_input, (Binding *, const char *name, const Value *))                      \
  F(137, Status *, bind_output, (Binding *, const char *name, const Value *))                     \
  F(138, Status *, bind_output_to, (Binding *, const char *name, const MemoryInfo *))             \
  F(140, Status *, bound_outputs, (const Binding *, Allocator *, Value ***, size_t *count))       \
  F(141, void, clear_inputs, (Binding *))                                                         \
  F(142, void, clear_outputs, (Binding *))                                                        \
  F(204, Status *, add_cuda, (Options *, const CudaOptions *))                                    \
  F(205, Status *, create_cuda_options, (CudaOptions **))                                         \
  F(206, Status *, set_cuda_options, (CudaOptions *, const char *const *keys, const char *const *values, size_t)) \
  F(208, void, release_cuda_options, (CudaOptions *))                                             \
  F(252, Status *, string_place, (Value *, size_t index, size_t bytes, char **))                  \
  F(254, const char *, build_info, (void))                                                        \
  F(263, Status *, set_cuda_option_value, (CudaOptions *, const char *key, void *value))

typedef struct {
#define FIELD(place, result, name, arguments) result(*name) arguments;
  ORT_FUNCTIONS(FIELD)
#undef FIELD
} Ort;

/* Filled once, before the first model loads, and read only from then on. */
extern Ort ort;
extern const char *ort_version;
extern Env *ort_env;
extern Allocator *ort_allocator;
extern MemoryInfo *ort_cpu;

/* Load the library and check that its table is the one described above. */
Error *load_ort(const char *library);

/* Turn a status into Triton's error, with a text in front, and free it; NULL stays NULL. */
Error *ort_failed(Status *status, const char *format, ...) TEXT_LIKE(2, 3);

#define ORT_CHECK(call) CHECK(ort_failed((call), "onnxruntime"))

/* A type of elements in ONNX Runtime's numbering, in Triton's, and in a config. */
typedef struct {
  int triton;
  uint32_t bytes; /* of one element; 0 for strings */
  const char *name;
} ElementType;
enum { ORT_STRING = 8 };
const ElementType *element_type_of(int ort_type); /* NULL: Triton has none */
