"""How Triton serves a model: short forms for ModelConfig's commonest fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]

_FLAGS = {"int32", "fp32", "bool"}
_IDS = {"int32", "uint32", "int64", "uint64", "string"}


class Spec(BaseModel):
    """A part of triton-kit.yaml: unknown keys are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QueuePolicySpec(Spec):
    """What happens to requests that wait: a time-out and a bound on the queue."""

    timeout_us: NotNegative = 0
    timeout_action: Literal["reject", "delay"] = "reject"
    allow_timeout_override: bool = False
    max_size: NotNegative = 0


class BatchingSpec(Spec):
    """How Triton joins requests; with `dynamic: false` clients send batches."""

    max_batch_size: Positive
    dynamic: bool = True
    preferred: tuple[Positive, ...] = ()
    max_queue_delay_us: NotNegative | None = None
    preserve_ordering: bool = False
    priority_levels: NotNegative = 0
    default_priority: NotNegative = 0
    queue: QueuePolicySpec | None = None
    queue_by_priority: dict[int, QueuePolicySpec] = {}

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if too_large := [n for n in self.preferred if n > self.max_batch_size]:
            raise ValueError(
                f"preferred {too_large} exceed max_batch_size {self.max_batch_size}"
            )
        if self.priority_levels and not (
            1 <= self.default_priority <= self.priority_levels
        ):
            raise ValueError(
                f"default_priority {self.default_priority} must be in "
                f"1 to {self.priority_levels} (priority_levels)"
            )
        return self


class ResourceSpec(Spec):
    """How many units of a resource one execution takes."""

    name: str
    count: Positive
    is_global: bool = Field(False, alias="global")


class RateLimitSpec(Spec):
    """What an execution needs, and its priority (1 is the highest)."""

    resources: tuple[ResourceSpec, ...] = ()
    priority: NotNegative = 0


class InstanceSpec(Spec):
    """How many copies of a model run, and where."""

    kind: Literal["auto", "cpu", "gpu", "model"] = "auto"
    count: Positive = 1
    gpus: tuple[NotNegative, ...] = ()
    profile: tuple[str, ...] = ()
    host_policy: str | None = None
    rate_limit: RateLimitSpec | None = None


class VersionsSpec(Spec):
    """Which version folders are served: the latest few, or these."""

    latest: Positive | None = None
    specific: tuple[Positive, ...] = ()

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.latest is None) == (not self.specific):
            raise ValueError("give either latest: N or specific: [N, ...]")
        return self


class ControlSpec(Spec):
    """The input that tells the model where in a sequence a request stands.

    Flags (start, ready, end) are int32, fp32 or bool; the correlation id is what
    clients send: uint64, int64, uint32, int32 or string.
    """

    input: str
    dtype: Literal["int32", "fp32", "bool", "uint64", "int64", "uint32", "string"]


class StateSpec(Spec):
    """A tensor that the model passes to the next request of the same sequence."""

    input: str
    output: str
    dtype: str
    dims: tuple[int, ...]
    initial: Literal["zeros"] | None = None


class SequenceSpec(Spec):
    """How requests of one sequence find their instance."""

    strategy: Literal["direct", "oldest"] = "direct"
    max_idle_us: NotNegative | None = None
    max_queue_delay_us: NotNegative | None = None
    max_candidates: Positive | None = None
    preferred: tuple[Positive, ...] = ()
    minimum_slot_utilization: float | None = None
    controls: dict[Literal["start", "ready", "end", "corrid"], ControlSpec] = {}
    states: tuple[StateSpec, ...] = ()
    iterative: bool = False

    @model_validator(mode="after")
    def _controls_have_their_types(self) -> Self:
        for kind, control in self.controls.items():
            known = _IDS if kind == "corrid" else _FLAGS
            if control.dtype not in known:
                raise ValueError(
                    f"control {kind} cannot be {control.dtype}, "
                    f"but {', '.join(sorted(known))}"
                )
        return self

    @model_validator(mode="after")
    def _fields_fit_the_strategy(self) -> Self:
        only_oldest = self.max_candidates is not None or self.preferred
        if self.strategy == "direct" and only_oldest:
            raise ValueError("max_candidates and preferred are for strategy: oldest")
        if self.strategy == "oldest" and self.max_candidates is None:
            raise ValueError("strategy oldest needs max_candidates")
        if self.strategy == "oldest" and self.minimum_slot_utilization is not None:
            raise ValueError("minimum_slot_utilization is for strategy: direct")
        return self


class AcceleratorSpec(Spec):
    """An accelerator inside a backend, such as `tensorrt` in onnxruntime."""

    name: str
    parameters: dict[str, str] = {}


class CudaSpec(Spec):
    """CUDA graphs and streams of the TensorRT backend."""

    graphs: bool = False
    busy_wait_events: bool = False
    output_copy_stream: bool = False


class OptimizationSpec(Spec):
    """How the backend runs the model."""

    graph_level: int | None = None
    priority: Literal["default", "max", "min"] = "default"
    cuda: CudaSpec | None = None
    gpu_accelerators: tuple[AcceleratorSpec, ...] = ()
    cpu_accelerators: tuple[AcceleratorSpec, ...] = ()
    input_pinned_memory: bool | None = None
    output_pinned_memory: bool | None = None
    gather_kernel_buffer_threshold: NotNegative | None = None
    eager_batching: bool = False


class WarmupSpec(Spec):
    """Requests that a model runs before it is ready, of one batch size or of several.

    `data` is `zeros`, `random`, or an .npz file of the project whose arrays are named
    after inputs; its first row is repeated. An axis that varies has its `opt` size.
    `batch_sizes: preferred` is 1, the preferred sizes and max_batch_size.
    """

    name: str = "warmup"
    batch_size: Positive | None = None
    batch_sizes: Literal["preferred", "all"] | tuple[Positive, ...] = ()
    count: Positive = 1
    data: str = "zeros"

    @field_validator("batch_sizes", mode="before")
    @classmethod
    def _sizes_are_known(cls, value: object) -> object:
        sizes = value if isinstance(value, list | tuple) else (None,)
        is_list = all(isinstance(size, int) and size >= 1 for size in sizes)
        if value not in ("preferred", "all") and not is_list:
            raise ValueError(f"expected preferred, all, or [1, ...], got {value!r}")
        return value

    @model_validator(mode="after")
    def _sizes_are_given_once(self) -> Self:
        if self.batch_size and self.batch_sizes:
            raise ValueError("give either batch_size or batch_sizes")
        return self

    def sizes(self, batching: BatchingSpec | None) -> tuple[int, ...]:
        """Return the batch sizes to run, each once.

        Raises:
            ValueError: the model takes no batches.
        """
        if not self.batch_sizes:
            return (self.batch_size or 1,)
        if batching is None:
            raise ValueError("batch_sizes are for models with batching")
        if self.batch_sizes == "all":
            return tuple(range(1, batching.max_batch_size + 1))
        if self.batch_sizes == "preferred":
            sizes = {1, *batching.preferred, batching.max_batch_size}
            return tuple(sorted(sizes))
        return tuple(dict.fromkeys(self.batch_sizes))


class ServingSpec(Spec):
    """Everything that has a short form, apart from tensors."""

    batching: BatchingSpec | None = None
    instances: tuple[InstanceSpec, ...] = ()
    versions: Literal["all"] | VersionsSpec | None = None
    sequence: SequenceSpec | None = None
    optimization: OptimizationSpec | None = None
    warmup: tuple[WarmupSpec, ...] = ()
    response_cache: bool = False
    decoupled: bool = False
    parameters: dict[str, str | int | float | bool] = {}

    @field_validator(
        "warmup",
        mode="before",
        json_schema_input_type=tuple[WarmupSpec, ...] | WarmupSpec,
    )
    @classmethod
    def _one_warmup_needs_no_list(cls, value: object) -> object:
        return (value,) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        for warmup in self.warmup:
            warmup.sizes(self.batching)
        return self

    @model_validator(mode="after")
    def _schedulers_are_one(self) -> Self:
        batching = self.batching.model_fields_set if self.batching else set()
        if self.sequence and batching - {"max_batch_size"}:
            raise ValueError(
                "sequence and dynamic batching exclude each other: with sequence, "
                "batching may set max_batch_size alone"
            )
        if self.response_cache and (self.decoupled or self.sequence):
            raise ValueError("response_cache goes with neither decoupled nor sequence")
        return self
