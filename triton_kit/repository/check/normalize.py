"""What the server fills into a config before it judges it, in its order.

What a backend completes from its model file is not in here: only that backend knows.
"""

from __future__ import annotations

from dataclasses import dataclass

from triton_kit.repository.check.folder import ModelFolder
from triton_kit.repository.check.target import Target
from triton_kit.triton.schema import Message

_SEQUENCE_IDLE_US = 1_000_000
_CPU_INSTANCES_OF_TWO = ("tensorflow", "onnxruntime")

TENSORRT_PLATFORM = "tensorrt_plan"
ENSEMBLE = "ensemble"


@dataclass(frozen=True, slots=True)
class _Known:
    """A backend that the server knows by its files.

    Attributes:
        platforms: what `platform` may be; the first is filled in, if `fills` is set.
        filename: the default model file, which tells the backend too.
        is_file: whether `filename` counts only if it is no folder.
    """

    backend: str
    filename: str
    platforms: tuple[str, ...] = ()
    is_file: bool = False


_TENSORFLOW = {
    "tensorflow_savedmodel": "model.savedmodel",
    "tensorflow_graphdef": "model.graphdef",
}
# In the order in which the server tries them.
_KNOWN = (
    _Known("tensorrt", "model.plan", (TENSORRT_PLATFORM,), is_file=True),
    _Known("onnxruntime", "model.onnx", ("onnxruntime_onnx",)),
    _Known("openvino", "model.xml"),
    _Known("pytorch", "model.pt", ("pytorch_libtorch",), is_file=True),
    _Known("torch_aoti", "model.pt2", ("torch_aoti",), is_file=True),
    _Known("python", "model.py"),
)


def default_filename(backend: str) -> str | None:
    """Return the name that a backend expects its model file to have, if it is known."""
    return next((known.filename for known in _KNOWN if known.backend == backend), None)


def complete_backend(config: Message, folder: ModelFolder, target: Target) -> bool:
    """Fill in name, platform, backend and default model file, as far as they follow.

    The first folder in the model's folder is looked into, whatever its name is.

    Returns:
        False if nothing tells the backend, for which the server refuses the model.
    """
    if not config.name:
        config.name = folder.name
    first = folder.subfolders[0] if folder.subfolders else None
    _tell_tensorflow(config, folder, first)
    if config.platform in _TENSORFLOW:
        config.backend = config.backend or "tensorflow"
        filename = config.default_model_filename or _TENSORFLOW[config.platform]
        config.default_model_filename = filename
        return True
    known = _known_backend(config, folder, first, target)
    if known is None:
        return _tell_custom(config, folder)
    config.backend = known.backend
    if known.platforms and not config.platform:
        config.platform = known.platforms[0]
    config.default_model_filename = config.default_model_filename or known.filename
    return True


def _known_backend(
    config: Message, folder: ModelFolder, first: str | None, target: Target
) -> _Known | None:
    for known in _KNOWN:
        if known.backend == "torch_aoti" and not target.has_backend("torch_aoti"):
            continue
        tells = not config.backend and _tells(known, config, folder, first)
        if tells or config.backend == known.backend:
            return known
    return None


def _tells(
    known: _Known, config: Message, folder: ModelFolder, first: str | None
) -> bool:
    if config.platform in known.platforms:
        return True
    if config.default_model_filename == known.filename:
        return True
    if config.platform or config.default_model_filename or first is None:
        return False
    if known.filename not in folder.content_of(first):
        return False
    return not (known.is_file and (folder.path / first / known.filename).is_dir())


def _tell_tensorflow(config: Message, folder: ModelFolder, first: str | None) -> None:
    if config.platform or config.backend not in ("", "tensorflow"):
        return
    filename = config.default_model_filename
    for platform, name in _TENSORFLOW.items():
        if filename == name:
            config.platform = platform
            return
    if filename or first is None:
        return
    content = folder.content_of(first)
    for platform, name in _TENSORFLOW.items():
        if name in content:
            is_folder = (folder.path / first / name).is_dir()
            if is_folder == (platform == "tensorflow_savedmodel"):
                config.platform = platform


def _tell_custom(config: Message, folder: ModelFolder) -> bool:
    """A folder `name.BACKEND` without any config means the backend BACKEND."""
    if config.backend or config.platform or config.default_model_filename:
        return True
    _, dot, backend = folder.name.partition(".")
    if not dot:
        return False
    config.backend = backend
    config.default_model_filename = f"model.{backend}"
    return True


def complete_defaults(config: Message) -> None:
    """Fill in version policy, preferred batch sizes, idle time and pinned memory."""
    if not config.HasField("version_policy"):
        config.version_policy.latest.num_versions = 1
    if config.HasField("dynamic_batching"):
        _complete_preferred(config.dynamic_batching, config.max_batch_size)
    if config.HasField("sequence_batching"):
        _complete_sequence(config.sequence_batching, config.max_batch_size)
    if not config.HasField("ensemble_scheduling"):
        for memory in ("input_pinned_memory", "output_pinned_memory"):
            if not config.optimization.HasField(memory):
                getattr(config.optimization, memory).enable = True


def _complete_sequence(batching: Message, max_batch_size: int) -> None:
    if batching.max_sequence_idle_microseconds == 0:
        batching.max_sequence_idle_microseconds = _SEQUENCE_IDLE_US
    if batching.HasField("oldest"):
        _complete_preferred(batching.oldest, max_batch_size)


def _complete_preferred(batching: Message, max_batch_size: int) -> None:
    if not batching.preferred_batch_size and max_batch_size > 0:
        batching.preferred_batch_size.append(max_batch_size)


def complete_instances(config: Message, target: Target) -> None:
    """Fill in name, kind, count and GPUs of every instance group."""
    if config.HasField("ensemble_scheduling"):
        return
    gpus = range(target.gpus)
    if not config.instance_group:
        config.instance_group.add(name=config.name)
    kinds = config.instance_group[0].Kind
    for number, group in enumerate(config.instance_group):
        if not group.name:
            group.name = f"{config.name}_{number}"
        if group.kind == kinds.Value("KIND_AUTO"):
            fits = target.gpus > 0 and all(gpu in gpus for gpu in group.gpus)
            group.kind = kinds.Value("KIND_GPU" if fits else "KIND_CPU")
        if group.count < 1:
            is_cpu = group.kind == kinds.Value("KIND_CPU")
            group.count = 2 if is_cpu and config.backend in _CPU_INSTANCES_OF_TWO else 1
        if group.kind == kinds.Value("KIND_GPU") and not group.gpus:
            group.gpus.extend(gpus)
