/* What this backend uses of Triton's backend API, 1.19 (tritonbackend.h, tritonserver.h).
 *
 * The functions are in the server that loads this library; nothing is linked.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { API_MAJOR = 1, API_MINOR = 19 };

typedef struct TRITONSERVER_Error Error;
typedef struct TRITONSERVER_Message Message;
typedef struct TRITONBACKEND_Backend Backend;
typedef struct TRITONBACKEND_BackendAttribute BackendAttribute;
typedef struct TRITONBACKEND_Model Model;
typedef struct TRITONBACKEND_ModelInstance Instance;
typedef struct TRITONBACKEND_Request Request;
typedef struct TRITONBACKEND_Response Response;
typedef struct TRITONBACKEND_Input Input;
typedef struct TRITONBACKEND_Output Output;
typedef struct TRITONBACKEND_State State;

typedef enum { ERROR_INTERNAL = 1, ERROR_INVALID_ARG = 3, ERROR_UNAVAILABLE = 4, ERROR_CANCELLED = 7 } ErrorCode;
typedef enum { LOG_INFO, LOG_WARN, LOG_ERROR, LOG_VERBOSE } LogLevel;
typedef enum { KIND_AUTO, KIND_CPU, KIND_GPU, KIND_MODEL } Kind;
typedef enum { MEMORY_CPU, MEMORY_PINNED, MEMORY_GPU } Memory;
enum { RESPONSE_FINAL = 1, RELEASE_ALL = 1, JSON_VERSION = 1 };

Error *TRITONSERVER_ErrorNew(ErrorCode code, const char *message);
void TRITONSERVER_ErrorDelete(Error *);
const char *TRITONSERVER_ErrorMessage(Error *);
Error *TRITONSERVER_LogMessage(LogLevel, const char *file, int line, const char *message);
Error *TRITONSERVER_MessageNewFromSerializedJson(Message **, const char *text, size_t bytes);
Error *TRITONSERVER_MessageSerializeToJson(Message *, const char **text, size_t *bytes);
Error *TRITONSERVER_MessageDelete(Message *);

Error *TRITONBACKEND_ApiVersion(uint32_t *major, uint32_t *minor);
Error *TRITONBACKEND_BackendConfig(Backend *, Message **);
Error *TRITONBACKEND_BackendState(Backend *, void **);
Error *TRITONBACKEND_BackendSetState(Backend *, void *);
Error *TRITONBACKEND_BackendAttributeSetParallelModelInstanceLoading(BackendAttribute *, bool);

Error *TRITONBACKEND_ModelName(Model *, const char **);
Error *TRITONBACKEND_ModelVersion(Model *, uint64_t *);
Error *TRITONBACKEND_ModelRepository(Model *, int *kind, const char **location);
Error *TRITONBACKEND_ModelConfig(Model *, uint32_t version, Message **);
Error *TRITONBACKEND_ModelAutoCompleteConfig(Model *, bool *);
Error *TRITONBACKEND_ModelSetConfig(Model *, uint32_t version, Message *);
Error *TRITONBACKEND_ModelBackend(Model *, Backend **);
Error *TRITONBACKEND_ModelState(Model *, void **);
Error *TRITONBACKEND_ModelSetState(Model *, void *);

Error *TRITONBACKEND_ModelInstanceModel(Instance *, Model **);
Error *TRITONBACKEND_ModelInstanceKind(Instance *, Kind *);
Error *TRITONBACKEND_ModelInstanceDeviceId(Instance *, int32_t *);
Error *TRITONBACKEND_ModelInstanceState(Instance *, void **);
Error *TRITONBACKEND_ModelInstanceSetState(Instance *, void *);
Error *TRITONBACKEND_ModelInstanceReportStatistics(Instance *, Request *, bool succeeded, uint64_t start_ns,
                                                   uint64_t compute_ns, uint64_t computed_ns,
                                                   uint64_t end_ns);
Error *TRITONBACKEND_ModelInstanceReportBatchStatistics(Instance *, uint64_t batch, uint64_t start_ns,
                                                        uint64_t compute_ns, uint64_t computed_ns,
                                                        uint64_t end_ns);

Error *TRITONBACKEND_RequestIsCancelled(Request *, bool *);
Error *TRITONBACKEND_RequestInputCount(Request *, uint32_t *);
Error *TRITONBACKEND_RequestInputByIndex(Request *, uint32_t, Input **);
Error *TRITONBACKEND_RequestOutputCount(Request *, uint32_t *);
Error *TRITONBACKEND_RequestOutputName(Request *, uint32_t, const char **);
Error *TRITONBACKEND_RequestOutputBufferProperties(Request *, const char *name, size_t *bytes, Memory *,
                                                   int64_t *memory_id);
Error *TRITONBACKEND_RequestRelease(Request *, uint32_t flags);
Error *TRITONBACKEND_InputProperties(Input *, const char **name, int *type, const int64_t **shape,
                                     uint32_t *axes, uint64_t *bytes, uint32_t *buffers);
Error *TRITONBACKEND_InputBuffer(Input *, uint32_t index, const void **, uint64_t *bytes, Memory *,
                                 int64_t *memory_id);

Error *TRITONBACKEND_ResponseNew(Response **, Request *);
Error *TRITONBACKEND_ResponseDelete(Response *);
Error *TRITONBACKEND_ResponseOutput(Response *, Output **, const char *name, int type,
                                    const int64_t *shape, uint32_t axes);
Error *TRITONBACKEND_OutputBuffer(Output *, void **, uint64_t bytes, Memory *, int64_t *memory_id);
Error *TRITONBACKEND_ResponseSend(Response *, uint32_t flags, Error *);
Error *TRITONBACKEND_StateNew(State **, Request *, const char *name, int type, const int64_t *shape,
                              uint32_t axes);
Error *TRITONBACKEND_StateBuffer(State *, void **, uint64_t bytes, Memory *, int64_t *memory_id);
Error *TRITONBACKEND_StateUpdate(State *);
