"""What the server accepts and is most likely not intended: warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from triton_kit.repository.check.findings import WARNING
from triton_kit.repository.check.incomplete import WAITS, missing_files
from triton_kit.repository.check.rules.case import (
    COMPLETING_BACKENDS,
    Case,
    Problem,
    Problems,
)
from triton_kit.repository.check.rules.onnx_complete import is_completed
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.versions import version_number
from triton_kit.repository.config.places import Step

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.~-]")
_FLAVOURS = {"vllm": "vllm-python-py3", "tensorrtllm": "trtllm-python-py3"}
_GENERATE = {"onnxruntime": ": `triton-kit generate MODEL.onnx` does"}
_DALI_FILES = frozenset({"model.dali", "dali.py"})
_ON_GPU_ONLY = ("tensorrt", "tensorrtllm", "dali")
_PLANS_BY_SHAPE = ("onnxruntime", "tensorrt")
_KIND_AUTO, _KIND_GPU = 0, 1


def warn(
    rule: str, message: str, at: tuple[Step, ...] = (), hint: str | None = None
) -> Problem:
    """Make a warning."""
    return Problem(rule, at=at, message=message, hint=hint, severity=WARNING)


def check_habits(case: Case) -> Problems:
    """K1 to K19, K27, K29, K30."""
    yield from _model_name(case)
    yield from _names(case)
    yield from _batching(case)
    yield from _types(case)
    if not case.is_ensemble:
        yield from _tensors(case)
        yield from _instances(case)
        yield from _backend(case)
        yield from _warmup(case)
    yield from _needs_flags(case)
    yield from _version_folders(case)


def _twice(names: Iterable[str]) -> list[tuple[int, str]]:
    seen: set[str] = set()
    repeated = []
    for number, name in enumerate(names):
        if name in seen and name:
            repeated.append((number, name))
        seen.add(name)
    return repeated


def _model_name(case: Case) -> Problems:
    """K27: a name that is not one part of a URL as it stands."""
    name = case.folder.name
    unusual = "".join(dict.fromkeys(_NOT_IN_NAMES.findall(name)))
    if unusual and not name.startswith("."):
        yield Problem(
            "K27",
            message=f"the model's name has {unusual!r}, which no URL has as it is",
            hint="use letters, digits, `_`, `-` and `.`",
            severity=WARNING,
            file=case.folder.path,
        )


def _names(case: Case) -> Problems:
    for kind in ("input", "output"):
        for number, name in _twice(t.name for t in getattr(case.written, kind)):
            yield warn(
                "K1", f"{kind} {name!r} is there twice", (kind, number), "remove one"
            )
    groups = (group.name for group in case.written.instance_group)
    for number, name in _twice(groups):
        at = ("instance_group", number, "name")
        yield warn("K2", f"two instance groups are named {name!r}", at, "rename one")


def _batching(case: Case) -> Problems:
    config = case.config
    if config.max_batch_size == 0:
        for field, rule in (("dynamic_batching", "K3"), ("sequence_batching", "K4")):
            # A backend may raise the batch size itself, if it completes the config.
            # The sequence batcher also keeps the state of models that do not batch.
            keeps_state = rule == "K4" and config.sequence_batching.state
            if config.HasField(field) and not _may_batch(case) and not keeps_state:
                yield warn(
                    rule,
                    f"{field} with max_batch_size 0 never makes a batch",
                    (field,),
                    "set max_batch_size, or remove it",
                )
    oldest = config.sequence_batching.oldest
    has_oldest = config.sequence_batching.HasField("oldest")
    if has_oldest and oldest.max_candidate_sequences == 0:
        yield warn(
            "K5",
            "oldest without max_candidate_sequences handles as many sequences at a "
            "time as a batch holds",
            ("sequence_batching", "oldest"),
            "set max_candidate_sequences",
        )
    if config.HasField("dynamic_batching"):
        batching = config.dynamic_batching
        if batching.priority_queue_policy and not batching.priority_levels:
            yield warn(
                "K6",
                "priority_queue_policy without priority_levels is ignored",
                ("dynamic_batching", "priority_queue_policy"),
                "set priority_levels",
            )


def _may_batch(case: Case) -> bool:
    """Whether the backend may set a batch size by itself."""
    if case.config.backend == "onnxruntime":
        return is_completed(case)
    return case.completes


def _types(case: Case) -> Problems:
    for kind in ("input", "output"):
        for number, tensor in enumerate(getattr(case.config, kind)):
            if not data_type_name(tensor.data_type):
                yield warn(
                    "K7",
                    f"{kind} {tensor.name!r} has data type number {tensor.data_type}, "
                    "which does not exist",
                    (kind, number, "data_type"),
                )


def _tensors(case: Case) -> Problems:
    config = case.config
    missing = [kind for kind in ("input", "output") if not getattr(config, kind)]
    if not missing:
        return
    what = f"no {' and no '.join(missing)} in the config"
    if case.completes:
        yield warn(
            "K8",
            f"{what}: the {config.backend} backend reads it from the model file, which "
            "is not checked here",
            (),
            "write them, so that a wrong model file is noticed"
            + _GENERATE.get(config.backend, ""),
        )
    else:
        yield warn("K9", what, (), f"add {' [...] and '.join(missing)} [...]")


def _instances(case: Case) -> Problems:
    for number, group in enumerate(case.written.instance_group):
        at = ("instance_group", number)
        if group.count < 0:
            yield warn(
                "K10",
                f"count {group.count} becomes the server's default",
                (*at, "count"),
                "write count: 1",
            )
        if group.host_policy:
            yield warn(
                "K11",
                f"host policy {group.host_policy!r} is ignored unless the server is "
                "started with it",
                (*at, "host_policy"),
                f"start it with --host-policy={group.host_policy},numa-node=0",
            )
        if group.HasField("rate_limiter") and group.rate_limiter.resources:
            yield warn(
                "K12",
                "rate limiter resources are ignored unless the server limits rates",
                (*at, "rate_limiter"),
                "start it with --rate-limit=execution_count",
            )


def _backend(case: Case) -> Problems:
    backend = case.config.backend
    at = ("backend",) if case.written.backend else ("platform",)
    if backend in _FLAVOURS:
        yield warn(
            "K14",
            f"the {backend} backend is not in the release's usual container",
            at,
            f"use the {_FLAVOURS[backend]} container",
        )
    if backend in _ON_GPU_ONLY and case.target.gpus == 0:
        yield warn(
            "K15",
            f"the {backend} backend needs a GPU, and the target has none",
            at,
            "set how many it has: --gpus N",
        )
    yield from _model_files(case)


def _warmup(case: Case) -> Problems:
    """K30: batches of a size that a GPU meets first in traffic."""
    config = case.config
    parameters = config.parameters  # to read one that is missing would add it
    has_sizes = "cuda_batch_sizes" in parameters and (
        parameters["cuda_batch_sizes"].string_value not in ("", "off")
    )
    if not _batches_on_gpu(case) or has_sizes:
        return
    met = {request.batch_size for request in config.model_warmup}
    preferred = set(config.dynamic_batching.preferred_batch_size)
    missing = sorted((preferred or {config.max_batch_size}) - met)
    if missing:
        sizes = ", ".join(str(size) for size in missing)
        yield warn(
            "K30",
            f"no warm-up has batch size {sizes}: on a GPU the first batch of each size "
            "can take up to a second",
            ("model_warmup",) if met else ("dynamic_batching",),
            "in triton-kit.yaml: `warmup: {batch_sizes: preferred}`; else model_warmup",
        )


def _batches_on_gpu(case: Case) -> bool:
    """Whether requests are joined for a GPU, by a backend that plans for each size.

    Without a kind, models run on GPUs where the server has some. The embedded server,
    which has no TensorRT, usually has none.
    """
    config = case.config
    if config.backend not in _PLANS_BY_SHAPE or config.max_batch_size < 2:
        return False
    if not config.HasField("dynamic_batching"):
        return False
    if any(tensor.allow_ragged_batch for tensor in config.input):
        return False  # its sizes are no batch sizes
    kinds = {group.kind for group in case.written.instance_group} or {_KIND_AUTO}
    has_gpu = case.target.gpus > 0 and case.target.has_backend("tensorrt")
    return _KIND_GPU in kinds or (_KIND_AUTO in kinds and has_gpu)


def _model_files(case: Case) -> Problems:
    """K16, M22: the file of each version, or of each compute capability."""
    config = case.config
    wanted = dict(config.cc_model_filenames)
    if not wanted and config.default_model_filename:
        wanted[""] = config.default_model_filename
    if config.backend not in COMPLETING_BACKENDS or config.backend == "python":
        return
    for version in case.versions:
        there = case.folder.content_of(str(version))
        if config.backend == "dali" and there & _DALI_FILES:
            continue  # a pipeline in Python is serialised by the backend
        for capability, filename in sorted(wanted.items()):
            if filename.partition("/")[0] not in there:
                yield _no_model_file(case, version, filename, capability)


def _no_model_file(case: Case, version: int, filename: str, capability: str) -> Problem:
    if filename in missing_files(case.folder.path / str(version)):
        return Problem(
            WAITS,
            message=f"version {version} waits for its {filename}: only that is missing",
            hint="run build-plans.sh (of the project's .triton-kit/plans) on a machine "
            "with the target's GPU, then triton-kit build again",
            file=case.folder.path / str(version),
        )
    there = ", ".join(sorted(case.folder.content_of(str(version)))) or "nothing"
    whom = f" for GPUs of compute capability {capability}" if capability else ""
    key = "cc_model_filenames" if capability else "default_model_filename"
    return Problem(
        "K16",
        message=f"version {version} has no {filename}{whom}: the "
        f"{case.config.backend} backend will not find its model",
        hint=f"the folder has {there}; put the file there, or name another in {key}",
        severity=WARNING,
        file=case.folder.path / str(version),
    )


def _needs_flags(case: Case) -> Problems:
    if case.config.response_cache.enable:
        yield warn(
            "K17",
            "response_cache does nothing unless the server has a cache",
            ("response_cache",),
            "start it with --cache-config=local,size=1048576",
        )


def _version_folders(case: Case) -> Problems:
    for name in case.folder.subfolders:
        number = version_number(name)
        file = case.folder.path / name
        if number is None and name not in ("warmup", "initial_state", "configs"):
            is_zeroed = name.isdigit()
            message = f"the folder {name} is no version" + (
                ": it begins with a zero" if is_zeroed else ""
            )
            hint = f"rename it to {int(name)}" if is_zeroed else None
            yield Problem("K18", "", (), message, hint, WARNING, file)
        elif number is not None and number < 0:
            message = f"the folder {name} is version {number}, which no client can name"
            hint = "in requests -1 means the newest version: rename it to 1 or above"
            yield Problem("K29", "", (), message, hint, WARNING, file)
        elif number is not None and str(number) != name:
            message = f"the server takes the folder {name} for version {number}"
            hint = f"rename it: backends read {number}"
            yield Problem("K19", "", (), message, hint, WARNING, file)
