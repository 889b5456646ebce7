"""The model file against the config: what the backend itself would find."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from triton_kit.artifact import OnnxModel, inspect_onnx, inspect_plan
from triton_kit.errors import ConvertError
from triton_kit.repository.check.findings import WARNING
from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.sizes import VARIABLE
from triton_kit.repository.check.rules.versions import version_number
from triton_kit.repository.check.rules.warmup import dims_agree, dims_text
from triton_kit.repository.config.places import Step
from triton_kit.tensors import Tensor
from triton_kit.triton.schema import DATA_TYPES, Message

# --backend-config=default-max-batch-size
_DEFAULT_MAX_BATCH_SIZE = 4
_LFS = b"version https://git-lfs"


def check_artifacts(case: Case) -> Problems:
    """M1 to M11: model files of the backends whose files the kit can read."""
    checks = {"onnxruntime": _onnx, "tensorrt": _plan}
    check = checks.get(case.config.backend)
    if check is None:
        return
    newest = max((version_number(f) or 0 for f in case.folder.subfolders), default=0)
    for version in case.versions:
        path = model_file(case, version)
        if not path.is_file():
            continue
        stub = _stub(path)
        for problem in check(case, path) if stub is None else [stub]:
            yield problem if version == newest else _of_older(problem, version)


def _of_older(problem: Problem, version: int) -> Problem:
    """Say of which version it is, where a newer one may be all right."""
    return replace(
        problem,
        message=f"version {version}: {problem.message}",
        hint="all versions that are served have one config: leave version "
        f"{version} out of the version policy, or give it a model of its own",
    )


def complete_tensors(case: Case) -> bool:
    """Fill in the tensors that the ONNX file tells; False if they stay unknown."""
    config = case.config
    if (config.input and config.output) or not case.completes:
        return True
    if config.backend != "onnxruntime" or not case.versions:
        return False
    try:
        model = inspect_onnx(model_file(case, case.versions[0]))
    except ConvertError:
        return False
    if model.unranked:
        return False
    if not config.input and not config.output:
        _complete_batch_size(case, model)
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        if not getattr(config, kind) and not _fill(case, kind, tensors):
            return False
    return True


def _complete_batch_size(case: Case, model: OnnxModel) -> None:
    """The backend batches by itself where every first axis varies."""
    tensors = (*model.inputs, *model.outputs)
    if case.config.max_batch_size == 0 and all(
        tensor.shape[:1] == (VARIABLE,) for tensor in tensors
    ):
        case.config.max_batch_size = _DEFAULT_MAX_BATCH_SIZE


def _fill(case: Case, kind: str, tensors: Sequence[Tensor]) -> bool:
    skipped = 1 if case.config.max_batch_size > 0 else 0
    if any(len(tensor.shape) <= skipped for tensor in tensors):
        return False
    for tensor in tensors:
        getattr(case.config, kind).add(
            name=tensor.name,
            data_type=DATA_TYPES.Value(tensor.dtype.config),
            dims=tensor.shape[skipped:],
        )
    return True


def has_content(path: Path) -> bool:
    """Whether a model's file, or its folder, is there and not empty."""
    try:
        return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0
    except OSError:
        return False


def model_file(case: Case, version: int) -> Path:
    """Return the path at which the backend looks for a version's model."""
    filename: str = case.config.default_model_filename
    return case.folder.path / str(version) / filename


def _stub(path: Path) -> Problem | None:
    """Say that a file only stands for the model; None if it may be one."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS))
    except OSError as error:
        message = f"the model file cannot be read: {error.strerror}"
        return Problem("M1", message=message, file=path)
    if head == _LFS:
        message, hint = "the model file is a Git LFS pointer", "run git lfs pull"
    elif not head:
        message, hint = "the model file is empty", "put the model there"
    else:
        return None
    return Problem("M2", message=message, hint=hint, severity=WARNING, file=path)


def _plan(case: Case, path: Path) -> Problems:
    try:
        header = inspect_plan(path)
    except ConvertError as error:
        message = error.message.removeprefix(f"{path}: ")
        yield Problem("M1", message=message, hint=error.hint, file=path)
        return
    if header.kind != "tensorrt":
        yield Problem(
            "M3",
            message=f"the plan was built by TensorRT-RTX {header.version_text}, which "
            "Triton's backend cannot load",
            hint="build it with TensorRT itself: triton-kit build --target gpu",
            file=path,
        )
        return
    wanted = case.target.tensorrt
    if wanted is not None and not _loads(header.version_text, wanted):
        yield Problem(
            "M4",
            message=f"the plan was built by TensorRT {header.version_text}, the server "
            f"has {wanted}",
            hint="a plan loads only where it was built: build it for this release",
            severity=WARNING,
            file=path,
        )


def _loads(built: str, wanted: str) -> bool:
    known = wanted.split(".")
    return built.split(".")[: len(known)] == known


def _onnx(case: Case, path: Path) -> Problems:
    try:
        model = inspect_onnx(path)
    except ConvertError as error:
        message = error.message.removeprefix(f"{path}: ")
        yield Problem("M1", message=message, hint=error.hint, file=path)
        return
    for name in model.external_files:
        if not (path.parent / name).is_file():
            message = f"the model's weights are in {name}, which is not there"
            yield Problem("M5", message=message, hint="copy it too", file=path)
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        yield from _against(case, kind, tensors, model)
    yield from _completed_batch(case, model)


def _completed_batch(case: Case, model: OnnxModel) -> Problems:
    """A backend that completes tensors refuses a batch that the graph does not have."""
    config = case.written
    if not case.completes or config.max_batch_size == 0:
        return
    if config.input and config.output:
        return
    for kind, tensors in (("input", model.inputs), ("output", model.outputs)):
        for tensor in () if getattr(config, kind) else tensors:
            is_fixed = tensor.shape[:1] != (VARIABLE,)
            if is_fixed and tensor.name not in model.unranked:
                yield _fixed_batch(case, tensor, ("max_batch_size",))


def _against(
    case: Case, kind: str, tensors: Sequence[Tensor], model: OnnxModel
) -> Problems:
    known = {tensor.name: tensor for tensor in tensors}
    made = {
        name
        for item in getattr(case.config, f"batch_{kind}")
        for name in item.target_name
    } | _sequence_names(case, kind)
    written = {tensor.name for tensor in getattr(case.written, kind)}
    for number, tensor in enumerate(getattr(case.written, kind)):
        at = (kind, number)
        if tensor.name not in known:
            yield _unexpected(kind, tensor.name, sorted(known), at)
        elif tensor.data_type and tensor.dims:
            yield from _compare(case, tensor, known[tensor.name], model, at)
    missing = sorted(set(known) - written - made) if written else []
    if missing and kind == "input":
        yield _too_few(case, missing, len(known), len(written))


def _sequence_names(case: Case, kind: str) -> set[str]:
    batching = case.config.sequence_batching
    names = {getattr(state, f"{kind}_name") for state in batching.state}
    if kind == "input":
        names |= {control.name for control in batching.control_input}
    return names


def _unexpected(
    kind: str, name: str, known: Sequence[str], at: tuple[Step, ...]
) -> Problem:
    return Problem(
        "M6",
        f"unexpected inference {kind} '{name}', allowed {kind}s are: "
        f"{', '.join(known)}",
        at=(*at, "name"),
        message=f"the model file has no {kind} {name!r}",
        hint=f"it has {', '.join(known) or 'none'}",
    )


def _too_few(case: Case, missing: Sequence[str], have: int, want: int) -> Problem:
    return Problem(
        "M7",
        f"unable to load model '{case.name}', configuration expects {want} inputs, "
        f"model provides {have}",
        at=("input", 0),
        message=f"the config lacks inputs of the model file: {', '.join(missing)}",
        hint="add them",
    )


def _compare(
    case: Case, tensor: Message, actual: Tensor, model: OnnxModel, at: tuple[Step, ...]
) -> Problems:
    meant = DATA_TYPES.Value(actual.dtype.config)
    if tensor.data_type != meant:
        yield Problem(
            "M8",
            at=(*at, "data_type"),
            message=f"{tensor.name!r} is {actual.dtype.config} in the model file",
            hint=f"write data_type: {actual.dtype.config}",
        )
    scattered = {n for item in case.config.batch_output for n in item.target_name}
    if actual.name not in model.unranked and actual.name not in scattered:
        problem = _shape(case, tensor, actual, at)
        if problem is not None:
            yield problem


def _shape(
    case: Case, tensor: Message, actual: Tensor, at: tuple[Step, ...]
) -> Problem | None:
    """Compare as the onnxruntime backend does: outputs exactly, -1 included."""
    is_batched = case.config.max_batch_size > 0
    dims = list(tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims)
    shape = list(actual.shape)
    if not shape:
        return _scalar(case, tensor, dims, at)
    if is_batched and shape[0] != VARIABLE:
        return _fixed_batch(case, actual, at)
    full = [VARIABLE] * is_batched + dims
    is_exact = at[0] == "output"
    agrees = len(full) == len(shape) and all(
        meant == given or (meant == VARIABLE and not is_exact)
        for meant, given in zip(shape, full, strict=True)
    )
    if agrees:
        return None
    note = " (an initial batch dimension" if is_batched else ""
    return Problem(
        "M9",
        f"model '{case.name}', tensor '{tensor.name}': the model expects "
        f"{len(shape)} dimensions (shape {dims_text(shape)}) but the model "
        f"configuration specifies {len(full)} dimensions{note}",
        at=(*at, "dims"),
        message=f"{tensor.name!r} has shape {dims_text(shape)} in the model file, and "
        f"{dims_text(full)} here",
        hint=_shape_hint(shape, full, is_batched=is_batched),
    )


def _scalar(
    case: Case, tensor: Message, dims: Sequence[int], at: tuple[Step, ...]
) -> Problem | None:
    if all(dim == 1 for dim in dims):
        return None
    return Problem(
        "M11",
        f"unable to load model '{case.name}', scalar tensor '{tensor.name}', should "
        "only provide 1 in the model",
        at=(*at, "dims"),
        message=f"{tensor.name!r} is a scalar in the model file",
        hint="write dims: [ 1 ]",
    )


def _shape_hint(shape: Sequence[int], full: Sequence[int], *, is_batched: bool) -> str:
    if is_batched and dims_agree(shape, full[1:]):
        return "max_batch_size > 0 adds the batch axis: leave it out of dims"
    if is_batched:
        return f"write dims: {list(shape[1:])}, the shape without the batch axis"
    return f"write dims: {list(shape)}"


def _fixed_batch(case: Case, actual: Tensor, at: tuple[Step, ...]) -> Problem:
    first = f"a fixed first axis of {actual.shape[0]}" if actual.shape else "no axis"
    return Problem(
        "M10",
        f"model '{case.name}', tensor '{actual.name}': for the model to support "
        "batching the shape should have at least 1 dimension and the first dimension "
        f"must be -1; but shape expected by the model is {dims_text(actual.shape)}",
        at=at,
        message=f"{actual.name!r} has {first} in the model file, and max_batch_size is "
        f"{case.config.max_batch_size}",
        hint="export the model with a batch axis that varies, or write "
        "max_batch_size: 0 and the whole shape",
    )
