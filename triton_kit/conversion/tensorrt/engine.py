"""A verified ONNX file becomes a TensorRT plan or an RTX engine, in a child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from triton_kit.artifact import inspect_onnx
from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.onnx.passes import user_folder
from triton_kit.conversion.output_files import publish_files
from triton_kit.conversion.search.attempt import Attempt
from triton_kit.conversion.search.work import Work
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.tensorrt.builder_options import (
    BACKEND_NAMES,
    OPTIONS,
    Backend,
    Value,
    check_backend,
    parse_options,
)
from triton_kit.conversion.tensorrt.prebuilt import (
    MissingPlan,
    check_fits,
    container_plan,
    release_note,
)
from triton_kit.conversion.tensorrt.tensorrt_api import known_api
from triton_kit.conversion.verify.gate import verify_plan
from triton_kit.conversion.workers.child import call_worker, run_failed
from triton_kit.errors import (
    ConvertError,
    MissingExtraError,
    SpecError,
    TritonKitError,
)
from triton_kit.options.shapes import Profile
from triton_kit.process import Finished
from triton_kit.tensors import DYNAMIC, Tensor, data_type
from triton_kit.triton.releases import Release, all_releases, find_release

IMAGE = "nvcr.io/nvidia/tensorrt"
_MOUNT = "/work"
INT64_SINCE = 10  # TensorRT's major version


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A built engine and the builder's report."""

    path: Path
    backend: Backend | None  # None: it was built elsewhere
    report: Mapping[str, Any] | None  # JSON: version, layers, tensors, seconds, memory
    notes: tuple[str, ...] = ()


def installed_backend(spec_format: str) -> Backend | None:
    """Return the backend that is installed here for a format; None where none is."""
    if spec_format == "rtx":
        return "rtx" if find_spec("tensorrt_rtx") else None
    if find_spec("tensorrt") is None:
        return None
    return "trt10" if tensorrt_version().startswith("10.") else "trt11"


def tensorrt_version() -> str:
    """Return the version of the TensorRT that is installed; empty where none is."""
    for name in ("tensorrt", "tensorrt_cu13", "tensorrt_cu12"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def backend_of_release(release: Release | None) -> Backend:
    """Return the backend that a Triton release needs plans of."""
    known = release.tensorrt if release else None
    return "trt10" if known and known.startswith(("8.", "10.")) else "trt11"


def checked_options(spec: ConvertSpec) -> dict[str, Value]:
    """Read the spec's options and hold them against the backend that will get them.

    Raises:
        SpecError: an option is unknown, malformed, or the backend lacks it.
    """
    values = parse_options(spec.options)
    if spec.sparsity:
        values.setdefault("sparsity", True)
    # float32 means float32, unless asked otherwise.
    values.setdefault("tf32", False)
    backend = installed_backend(spec.format)
    if backend is None:
        backend = "rtx" if spec.format == "rtx" else backend_of_release(_release(spec))
    check_backend(values, backend, known_api(backend))
    return values


def _release(spec: ConvertSpec) -> Release | None:
    return find_release(spec.release) if spec.release else None


def engine_for(work: Work, chosen: Attempt) -> Engine | MissingPlan:
    """Build the engine; without TensorRT publish the ONNX file and find its plan.

    Raises:
        ConvertError, VerifyError: it does not build, or its outputs are wrong.
    """
    spec = work.spec
    is_here = installed_backend(spec.format) is not None or spec.dry_run
    if spec.format == "plan" and not is_here:
        publish_files(artifact_files(chosen.path), spec.output.parent)
        onnx = spec.output.parent / chosen.path.name
        order = replace(spec, precision=chosen.spec.precision)
        missing = missing_plan(order, onnx, work.profiles)
        if missing.plan.is_file():
            return import_container_plan(missing.plan, spec)
        return missing
    engine = build_engine(chosen.path, spec, work.profiles, scratch=work.scratch)
    if engine.backend != "rtx" and "strip_weights" not in spec.options:
        verify_plan(
            engine.path,
            work.reference,
            gate=spec.gate,
            precision=chosen.spec.precision,
            scratch=work.scratch,
            root=spec.root,
        )
    return engine


def as_tensorrt_has_it(tensor: Tensor, release: str | None) -> Tensor:
    """Return an input or output as the engine of a release has it.

    The parser narrows float64; before TensorRT 10 it narrows int64 as well.
    """
    version = find_release(release).tensorrt if release else None
    is_old = version is not None and int(version.split(".")[0]) < INT64_SINCE
    narrowed = {"FP64": "FP32"} | ({"INT64": "INT32"} if is_old else {})
    to = narrowed.get(tensor.dtype.name)
    return replace(tensor, dtype=data_type(to)) if to else tensor


def build_engine(
    onnx: Path, spec: ConvertSpec, profiles: Sequence[Profile], *, scratch: Path
) -> Engine:
    """Build an engine from a verified ONNX file.

    Raises:
        SpecError: an option that the backend lacks, or TensorRT of another version than
            the release's.
        ConvertError: TensorRT refused the graph, or its process ended.
        MissingExtraError: TensorRT for RTX is not installed.
    """
    options = checked_options(spec)
    backend = installed_backend("rtx" if spec.dry_run else spec.format)
    if backend is None:
        raise MissingExtraError("TensorRT for RTX", extra="rtx")
    if spec.dry_run and spec.format == "plan":
        options = {}  # they are TensorRT's, and were held against its API above
    if backend != "rtx":
        _check_version(spec)
    engine = scratch / "engine"
    request = {
        "backend": backend,
        "onnx": str(onnx),
        "engine": str(engine),
        "profiles": [_bounds(profile) for profile in _varying(onnx, profiles)],
        "root": user_folder(spec.root),
        "options": {name: _plain(value) for name, value in options.items()},
    }
    try:
        facts = build_in_child(request, timeout_s=spec.timeout_s)
    except ConvertError as error:
        if spec.format == "plan" and backend == "rtx":
            raise ConvertError(
                f"dry run: {error.message}",
                hint="the dry run asks TensorRT for RTX alone, which lacks operators "
                "that TensorRT has, such as NonZero and NonMaxSuppression: without "
                "--dry-run the container of the release decides",
            ) from error
        raise
    return Engine(path=engine, backend=backend, report=facts)


def import_container_plan(plan: Path, spec: ConvertSpec) -> Engine:
    """Import the plan that a container built from a verified ONNX file.

    Raises:
        ConvertError: it is no plan, or the release does not load it.
    """
    check_fits(plan, spec)
    note = "its plan was built in a container: the gate held the ONNX file it is of, "
    note += "the plan itself was not run, and on which GPU it was built is not known"
    return Engine(
        path=plan, backend=None, report=None, notes=(note, *release_note(spec))
    )


def build_in_child(request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
    """Let `build_worker` do a request, and return its report.

    Raises:
        ConvertError: TensorRT refused the graph, or its process ended.
    """
    report: dict[str, Any] = call_worker(
        "tensorrt.build_worker",
        dict(request),
        timeout_s=timeout_s,
        failed=lambda done: _build_failed(
            Path(request["onnx"]), BACKEND_NAMES[request["backend"]], done
        ),
    )
    return report


def _plain(value: Value) -> object:
    return list(value) if isinstance(value, tuple) else value


def _varying(onnx: Path, profiles: Sequence[Profile]) -> list[Profile]:
    """Leave out inputs of fixed shape; a static network still has one profile."""
    fixed = {t.name for t in inspect_onnx(onnx).inputs if DYNAMIC not in t.shape}
    return [{n: r for n, r in p.items() if n not in fixed} for p in profiles]


def _bounds(profile: Profile) -> dict[str, list[list[int]]]:
    return {n: [list(r.min), list(r.opt), list(r.max)] for n, r in profile.items()}


def _check_version(spec: ConvertSpec) -> None:
    release = _release(spec)
    if release is None or release.tensorrt is None:
        return
    found = tensorrt_version()
    if not found.startswith(".".join(release.tensorrt.split(".")[:3])):
        raise SpecError(
            f"{spec.source}: Triton {release.release} loads plans of TensorRT "
            f"{release.tensorrt}, installed is {found}",
            hint="build inside the container of that release: --artifact plan on a "
            "machine without TensorRT prints the command",
        )


def _build_failed(onnx: Path, backend: str, done: Finished) -> TritonKitError:
    """Pick TensorRT's own reason out of a long log."""
    lines = [
        line.strip()
        for line in done.stderr.splitlines()
        if any(mark in line for mark in ("[E]", "Error Code", "BuildFailedError"))
    ]
    if not lines or done.exit_code is None or done.exit_code < 0:
        return run_failed(onnx, f"{backend} does not build it")(done)
    reason = " ".join(dict.fromkeys(lines))[:600]
    hint = None
    if "Plugin not found" in reason or "No importer registered" in reason:
        hint = "an operator that TensorRT lacks: replace it by a graph pass (--pass), "
        hint += "or give its plugin (--option plugins=FILE.so)"
    elif "profile" in reason.lower():
        hint = "look at --shape: every input that varies needs min <= opt <= max"
    return ConvertError(f"{backend} does not build it: {reason}", hint=hint)


def missing_plan(
    spec: ConvertSpec, onnx: Path, profiles: Sequence[Profile]
) -> MissingPlan:
    """Return the plan that a container has to build, and how.

    The TensorRT container of a month carries the TensorRT of that month's Triton.
    """
    release = _release(spec) or all_releases()[-1]
    image = f"{IMAGE}:{release.tag}"
    words = [
        f"--onnx={_MOUNT}/{onnx.name}",
        "--skipInference",
        *_typing_words(spec, release),
        *_trtexec_shapes(_varying(onnx, profiles)),
        *_trtexec_options(checked_options(spec)),
    ]
    plan = container_plan(onnx, [image, *words])
    return MissingPlan(spec.output, onnx, plan, image, tuple(words))


def _typing_words(spec: ConvertSpec, release: Release) -> list[str]:
    """Let the graph decide precisions; TensorRT 8 has flags for it, as permissions.

    TensorRT 10 needs the flag, and TensorRT 11 ignores it: it knows nothing else.
    """
    if not (release.tensorrt or "").startswith("8."):
        return ["--stronglyTyped"]
    allowed = {"fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}
    return allowed.get(spec.precision, [])


def _trtexec_shapes(profiles: Sequence[Profile]) -> list[str]:
    words = []
    for index, profile in enumerate(profiles):
        if len(profiles) > 1:
            words.append(f"--profile={index}")
        for bound in ("min", "opt", "max"):
            shapes = ",".join(
                f"{name}:{'x'.join(map(str, getattr(ranges, bound)))}"
                for name, ranges in profile.items()
            )
            if shapes:
                words.append(f"--{bound}Shapes={shapes}")
    return words


_TRTEXEC_WORDS = {
    ("hardware_compatibility", "ampere_plus"): "ampere+",
    ("hardware_compatibility", "same_compute_capability"): "sameComputeCapability",
    ("layer_info", "names"): "layer_names_only",
    ("runtime_platform", "same"): "SameAsBuild",
    ("runtime_platform", "windows_amd64"): "WindowsAMD64",
    ("tiling", "none"): "0",
    ("tiling", "fast"): "1",
    ("tiling", "moderate"): "2",
    ("tiling", "full"): "3",
}


def _trtexec_options(options: Mapping[str, Value]) -> list[str]:
    words = []
    for name, value in options.items():
        template = OPTIONS[name].trtexec
        if name == "tf32" and not value:
            words.append("--noTF32")
        elif value is False or not template:
            continue
        elif isinstance(value, tuple):
            words += [template.format(item) for item in value]
        else:
            word = _TRTEXEC_WORDS.get((name, str(value)), str(value))
            words.append(template.format(word))
    return words
