"""A server, its index and its models, as the server describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from triton_kit.errors import ServerError, SpecError, TransportError, did_you_mean
from triton_kit.tensors import DYNAMIC, Shape, Tensor, data_type
from triton_kit.triton.calls import CALLS_PARAMETER, names_of_calls
from triton_kit.triton.json_fields import Fields

# Triton accepts some characters in a path only as they are, such as `=`.
_PLAIN_IN_PATHS = "!$&'()*+,;=:@"
# How a server lists the protocol's binary extension among its own.
_BINARY_EXTENSION = "binary_tensor_data"
_NO_BATCH_AXIS = "the first axis of a tensor has a fixed size"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """Name, version and protocol extensions of the server, as it reports them.

    All are empty behind a gateway that forwards only requests about models.
    """

    name: str
    version: str
    extensions: tuple[str, ...] = ()

    @property
    def has_binary_tensors(self) -> bool:
        """Whether the server says that it takes tensors as bytes over HTTP."""
        return _BINARY_EXTENSION in self.extensions


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One model version in the repository index; all but the name may be empty."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether the server accepts requests for it."""
        return self.state == "READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model as its server describes it.

    The shapes of `inputs` and `outputs` leave out the batch axis, which the server
    adds itself where `max_batch_size` is not 0; None is a batch without known limit.
    `is_configured` is whether the server reports the configuration; without it only
    the names, types and shapes of the tensors are known. `backend_kind` is `python`
    for a backend in Python, which runs in a process of its own, else `native`; both
    are empty where the server does not tell. `steps` are those of a pipeline, `calls`
    the models that a Python model names as those it calls.
    """

    name: str
    version: str
    max_batch_size: int | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    optional_inputs: frozenset[str] = frozenset()
    is_decoupled: bool = False
    is_sequence: bool = False
    steps: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    backend: str = ""
    backend_kind: str = ""
    is_configured: bool = True

    @property
    def has_batch_axis(self) -> bool:
        """Whether tensors of a request have an axis more than the model's shapes."""
        return self.max_batch_size != 0

    def check_batch_size(self, batch_size: int) -> None:
        """Refuse a batch that the model does not take.

        Raises:
            SpecError: the batch is larger than the model's configuration allows.
        """
        if not self.has_batch_axis and batch_size > 1:
            raise SpecError(
                f"batch size {batch_size}: model {self.name!r} does not batch "
                f"({'max_batch_size: 0' if self.is_configured else _NO_BATCH_AXIS})",
                hint="leave out -b, or put the batch into --shape",
            )
        if self.max_batch_size and batch_size > self.max_batch_size:
            raise SpecError(
                f"batch size {batch_size}: model {self.name!r} takes at most "
                f"{self.max_batch_size}",
                hint=f"use -b {self.max_batch_size} or less",
            )

    def request_shape(self, shape: Shape, batch_size: int) -> Shape:
        """Return the shape of one request's tensor, batch axis included."""
        return (batch_size, *shape) if self.has_batch_axis else shape


def model_info(config: Fields, *, version: str) -> ModelInfo:
    """Read the JSON form of a model configuration (Triton's ModelConfig message).

    Raises:
        TransportError: it is not one.
    """
    inputs = config.objects("input")
    backend = config.text("backend")
    is_python = backend == "python" or config.text("runtime").endswith(".py")
    steps = config.inner("ensemble_scheduling").objects("step")
    parameters = config.inner("parameters")
    return ModelInfo(
        name=config.text("name", None),
        version=version,
        max_batch_size=config.integer("max_batch_size"),
        inputs=tuple(_tensor(entry, "data_type", "dims") for entry in inputs),
        outputs=tuple(
            _tensor(entry, "data_type", "dims") for entry in config.objects("output")
        ),
        optional_inputs=frozenset(
            entry.text("name", None) for entry in inputs if entry.flag("optional")
        ),
        is_decoupled=config.inner("model_transaction_policy").flag("decoupled"),
        is_sequence="sequence_batching" in config,
        steps=tuple(step.text("model_name", None) for step in steps),
        calls=names_of_calls(parameters.inner(CALLS_PARAMETER).text("string_value")),
        backend=backend,
        backend_kind=("python" if is_python else "native") if backend else "",
    )


def model_from_metadata(metadata: Fields, *, name: str, version: str) -> ModelInfo:
    """Read the metadata of a model (KServe v2), for servers without configurations.

    Its shapes contain the batch axis: the first one, if it varies in every tensor.

    Raises:
        TransportError: it is no metadata.
        ServerError: it names no inputs.
    """
    inputs = [_tensor(e, "datatype", "shape") for e in metadata.objects("inputs")]
    outputs = [_tensor(e, "datatype", "shape") for e in metadata.objects("outputs")]
    if not inputs:
        raise ServerError(
            f"the server reports no inputs of model {name!r}",
            hint="declare them in the settings of the model, for example `inputs` in "
            "MLServer's model-settings.json",
        )
    tensors = [*inputs, *outputs]
    has_batch = all(tensor.shape[:1] == (DYNAMIC,) for tensor in tensors)
    versions = metadata.texts("versions") or [version]
    return ModelInfo(
        name=name,
        version=version or versions[-1],
        max_batch_size=None if has_batch else 0,
        inputs=tuple(_without_batch(tensor, has_batch) for tensor in inputs),
        outputs=tuple(_without_batch(tensor, has_batch) for tensor in outputs),
        is_configured=False,
    )


def _without_batch(tensor: Tensor, has_batch: bool) -> Tensor:
    return replace(tensor, shape=tensor.shape[1:]) if has_batch else tensor


def _tensor(entry: Fields, dtype_field: str, shape_field: str) -> Tensor:
    try:
        dtype = data_type(entry.text(dtype_field, None))
        shape = tuple(entry.integers(shape_field))
        return Tensor(name=entry.text("name", None), dtype=dtype, shape=shape)
    except SpecError as error:
        raise TransportError(f"{entry.where}: {error.message}") from error


def model_path(model: str, version: str = "") -> str:
    """Return the path of a model (version) below the server's own."""
    path = f"/v2/models/{quote(model, safe=_PLAIN_IN_PATHS)}"
    return (
        f"{path}/versions/{quote(version, safe=_PLAIN_IN_PATHS)}" if version else path
    )


def index_entries(entries: Sequence[Fields]) -> tuple[IndexEntry, ...]:
    """Read a repository index; raises TransportError where it is not one."""
    return tuple(
        IndexEntry(
            name=entry.text("name", None),
            version=entry.text("version"),
            state=entry.text("state"),
            reason=entry.text("reason"),
        )
        for entry in entries
    )


def explain_absence(index: Sequence[IndexEntry], name: str, version: str) -> None:
    """Raise the error that fits a model that is not ready.

    Raises:
        ServerError: the model is in the index, and not ready.
        SpecError: it is not in the index.
    """
    wanted = f"{name!r} version {version}" if version else repr(name)
    for entry in index:
        if entry.name == name and version in ("", entry.version):
            state = entry.state or "not loaded"
            reason = entry.reason or "the server gives no reason"
            raise ServerError(
                f"model {wanted} is not ready: {state}, {reason}",
                hint="the server's log says why a model failed to load",
            )
    known = {entry.name for entry in index}
    hint = did_you_mean(name, known) if known else "it lists no models"
    if name in known:
        versions = [entry.version or "?" for entry in index if entry.name == name]
        hint = f"versions of {name!r}: {', '.join(versions)}"
    raise SpecError(f"the server has no model {wanted}", hint=hint)
