"""An ONNX file opened by onnxruntime, and what it says of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

# onnxruntime's name of a type -> Triton's, in a config.
DATA_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(bfloat16)": "TYPE_BF16",
    "tensor(string)": "TYPE_STRING",
}
_LEVELS = {  # optimization.graph.level, as the C++ backend reads it
    -1: "ORT_ENABLE_BASIC",
    0: "ORT_ENABLE_ALL",
    1: "ORT_ENABLE_EXTENDED",
    2: "ORT_DISABLE_ALL",
}


@dataclass(frozen=True)
class GraphTensor:
    """An input or output of the graph; `shape` is whole, -1 is an axis that varies."""

    name: str
    data_type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """An open graph; `optional` are the inputs that have a value of their own."""

    session: onnxruntime.InferenceSession
    inputs: dict[str, GraphTensor]
    optional: dict[str, GraphTensor]
    outputs: dict[str, GraphTensor]
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def feeds(self) -> dict[str, GraphTensor]:
        """Everything that a request may bring."""
        return {**self.inputs, **self.optional}

    @cached_property
    def has_bfloat16(self) -> bool:
        """Whether a tensor of it has no form in NumPy."""
        tensors = (*self.feeds.values(), *self.outputs.values())
        return any(tensor.data_type == "TYPE_BF16" for tensor in tensors)

    @property
    def has_batch_axis(self) -> bool:
        """Whether the first axis of every input and output varies."""
        tensors = [*self.inputs.values(), *self.outputs.values()]
        return all(tensor.shape[:1] == (-1,) for tensor in tensors)


def artifact_in(version_folder: Path, config: dict) -> Path:
    """Return the file of a version; a folder of that name holds a model.onnx."""
    path = version_folder / (config.get("default_model_filename") or "model.onnx")
    return path / "model.onnx" if path.is_dir() else path


def open_graph(
    artifact: Path, config: dict, *, device: int | None = None, optimize: bool = True
) -> Graph:
    """Open a graph on a GPU, or on the CPU where `device` is None.

    Raises:
        ValueError: the file is no graph onnxruntime can run, or a parameter is wrong.
        OSError: there is no file.
    """
    # Only now: the process that completes a config may never need it, and it is slow.
    import onnxruntime as ort

    if not artifact.is_file():
        raise FileNotFoundError(_no_file(artifact))
    options = _session_options(config)
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted, warnings = _providers(device)
    try:
        for library in _op_libraries(artifact, config):
            options.register_custom_ops_library(library)
        session = ort.InferenceSession(str(artifact), options, providers=wanted)
    except Exception as error:  # its error classes have no common base but this one
        reason = str(error).strip()
        message = f"onnxruntime {ort.__version__} cannot open {artifact}: {reason}"
        raise ValueError(message) from error
    if device is not None and len(wanted) > 1 and len(session.get_providers()) == 1:
        warnings.append("onnxruntime could not use CUDA here: running on the CPU")
    return Graph(
        session=session,
        inputs=_tensors(session.get_inputs()),
        optional=_tensors(session.get_overridable_initializers()),
        outputs=_tensors(session.get_outputs()),
        warnings=warnings,
    )


def _no_file(artifact: Path) -> str:
    folder = artifact.parent
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return (
        f"no model file {artifact}; its folder holds "
        f"{', '.join(found) or 'nothing'} (default_model_filename names another file)"
    )


def _providers(device: int | None) -> tuple[list, list[str]]:
    import onnxruntime as ort

    if device is None:
        return ["CPUExecutionProvider"], []
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        why = "KIND_GPU wanted, but this onnxruntime has no CUDA: running on the CPU"
        return ["CPUExecutionProvider"], [f"{why} (pip install onnxruntime-gpu)"]
    cuda = ("CUDAExecutionProvider", {"device_id": str(device)})
    return [cuda, "CPUExecutionProvider"], []


def _session_options(config: dict) -> onnxruntime.SessionOptions:
    import onnxruntime as ort

    options = ort.SessionOptions()
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = getattr(
        ort.GraphOptimizationLevel, _LEVELS.get(level, _LEVELS[0])
    )
    mode = _integer(config, "execution_mode")
    if mode not in (0, 1):
        raise ValueError(f"parameter execution_mode is 0 or 1, the config says {mode}")
    if mode == 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    # 0, and below, leaves the choice to onnxruntime: one thread per core.
    options.intra_op_num_threads = max(0, _integer(config, "intra_op_thread_count"))
    options.inter_op_num_threads = max(0, _integer(config, "inter_op_thread_count"))
    options.enable_cpu_mem_arena = _truth(config, "enable_mem_arena")
    options.enable_mem_pattern = _truth(config, "enable_mem_pattern")
    return options


def _op_libraries(artifact: Path, config: dict) -> list[str]:
    """Return the libraries of operators that a config names.

    Containers have the repository in /models; elsewhere such a path is in the model's
    own folder.
    """
    named = (config.get("model_operations") or {}).get("op_library_filename") or []
    if not named:
        return []
    here = f"/models/{config['name']}/"
    model = next((p for p in artifact.parents if p.name == config["name"]), None)
    return [
        str(model / path.removeprefix(here))
        if model and path.startswith(here) and not Path(path).exists()
        else path
        for path in named
    ]


def _integer(config: dict, name: str) -> int:
    text = _parameter(config, name, "0")
    try:
        return int(text)
    except ValueError:
        message = f"parameter {name} is a number, the config says {text!r}"
        raise ValueError(message) from None


def _truth(config: dict, name: str) -> bool:
    text = _parameter(config, name, "true").lower()
    if text not in ("0", "1", "false", "true"):
        raise ValueError(f"parameter {name} is true or false, the config says {text!r}")
    return text in ("1", "true")


def _parameter(config: dict, name: str, default: str) -> str:
    return str(config.get("parameters", {}).get(name, {}).get("string_value", default))


def _tensors(arguments: list) -> dict[str, GraphTensor]:
    return {
        each.name: GraphTensor(
            each.name,
            DATA_TYPES.get(each.type, each.type),
            tuple(size if isinstance(size, int) else -1 for size in each.shape),
        )
        for each in arguments
    }
