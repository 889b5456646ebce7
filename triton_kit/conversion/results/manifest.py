"""The manifest beside an artifact, and the script that makes the artifact again."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import Any, cast

from triton_kit.artifact import inspect_onnx, inspect_plan
from triton_kit.conversion.onnx.onnx_file import artifact_files
from triton_kit.conversion.precision.modelopt import modelopt_version
from triton_kit.conversion.spec import Accuracy, ConvertSpec, GraphSize
from triton_kit.errors import ConvertError, SpecError
from triton_kit.files import TEXT_BYTES, read_json, write_whole
from triton_kit.options.setting import words_of

SCHEMA = 1
MANIFEST, REPRODUCE = "manifest.json", "reproduce.sh"
TOOLS = (
    "triton_kit",
    "numpy",
    "ml_dtypes",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "polygraphy",
    "onnxscript",
    "torch",
    "tensorrt",
    "tensorrt_rtx_cu13",
)
Json = Any


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(path: Path) -> dict[str, Json]:
    """Return a manifest that another program may have written or changed.

    Its `files` hold a sha256 each, by names that stay in the manifest's folder.

    Raises:
        ConvertError: it cannot be read, or is not a manifest.
    """
    try:
        facts = read_json(path, limit=TEXT_BYTES)
    except SpecError as error:
        why = error.message.removeprefix(f"{path}: ")
        raise ConvertError(
            f"{path}: not a manifest: {why}", hint="move it away"
        ) from error
    files = facts.get("files") if isinstance(facts, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(file, dict)
        and isinstance(file.get("sha256"), str)
        and not Path(name).is_absolute()
        and ".." not in Path(name).parts
        for name, file in files.items()
    ):
        raise ConvertError(
            f"{path}: not a manifest: `files` has no digest by file name",
            hint="move it away",
        )
    return cast("dict[str, Json]", facts)


def digests(path: Path) -> dict[str, str]:
    """Return the digest of a file, or of every file of a folder, by relative name.

    Of an ONNX file the weights beside it are part, by whatever name.
    """
    return {name: sha256(file) for name, file in parts_of(path).items()}


def parts_of(path: Path) -> dict[str, Path]:
    """Return a file and the weights beside it, or the files of a folder, by name."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return {str(p.relative_to(path)): p for p in files}
    apart: tuple[str, ...] = ()
    if path.suffix.lower() == ".onnx":
        with suppress(ConvertError):  # such as outputs that are maps
            apart = inspect_onnx(path).external_files
    found = {file.name: file for file in artifact_files(path)}
    return found | {name: path.parent / name for name in apart}


def tool_versions() -> dict[str, str]:
    """Return the versions of what may have had a hand in an artifact."""
    found = {}
    for name in TOOLS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def spec_facts(spec: ConvertSpec) -> dict[str, Json]:
    """Return what was asked for, as JSON; files by name and digest, not by place."""
    facts = asdict(spec)
    for place in ("output", "cache", "source", "timeout_s", "root"):
        del facts[place]
    facts["profiles"] = [_shapes(profile) for profile in spec.profiles]
    facts["gate"] = {k: v for k, v in asdict(spec.gate).items() if v is not None}
    facts["custom_ops"] = [_data(path) for path in spec.custom_ops]
    facts["verify_data"] = _data(spec.verify_data)
    if spec.calibration:
        facts["calibration"]["data"] = _data(spec.calibration.data)
        if spec.calibration.quantizer == "modelopt":
            facts["calibration"]["modelopt"] = modelopt_version()
    return facts


def _shapes(profile: Mapping[str, Any]) -> dict[str, Json]:
    return {name: asdict(bounds) for name, bounds in profile.items()}


def _data(path: Path | None) -> Json:
    return {"file": path.name, "sha256": sha256(path)} if path else None


def size_facts(size: GraphSize) -> dict[str, Json]:
    """Return a graph's size as JSON."""
    return asdict(size)


def accuracy_facts(accuracy: Accuracy) -> dict[str, Json]:
    """Return the gate's figures as JSON, which has no infinity: null is no error."""
    facts = asdict(accuracy)
    facts["outputs"] = [finite_facts(output) for output in facts["outputs"]]
    return facts


def finite_facts(facts: Mapping[str, Json]) -> dict[str, Json]:
    """Return facts with null for numbers that JSON has not."""
    return {
        name: None if isinstance(value, float) and not isfinite(value) else value
        for name, value in facts.items()
    }


def engine_facts(artifact: Path, report: Mapping[str, Json] | None) -> dict[str, Json]:
    """Return what an engine says of itself, with the version from its own header.

    `report` is the builder's; None where the kit did not build it.

    Raises:
        ConvertError: the header is no engine's, or not of the library that built it.
    """
    header = inspect_plan(artifact)
    if report is None:
        report = {"layers": None, "compute_capability": None}
    elif not header.version_text.startswith(str(report["tensorrt"]).split("+")[0]):
        raise ConvertError(
            f"{artifact}: its header says TensorRT {header.version_text}, "
            f"it was built with {report['tensorrt']}"
        )
    return {
        "kind": header.kind,
        "version": header.version_text,
        "layers": report["layers"],
        "compute_capability": report["compute_capability"],
    }


def write_text(path: Path, text: str, *, executable: bool = False) -> None:
    """Write a small file so that it is there as a whole or not at all.

    Raises:
        ConvertError: it cannot be written.
    """
    try:
        write_whole(path, text, executable=executable)
    except OSError as error:
        raise ConvertError(f"{path}: cannot write it: {error.strerror}") from error


def metadata_files(
    spec: ConvertSpec, facts: Mapping[str, Json], folder: Path
) -> list[Path]:
    """Write the script and the manifest of an artifact into a folder."""
    manifest, script = folder / MANIFEST, folder / REPRODUCE
    write_text(script, reproduce_script(spec), executable=True)
    write_text(manifest, as_text(facts))
    return [script, manifest]


def as_text(facts: Mapping[str, Json]) -> str:
    """Return the text of a manifest: the same facts, the same bytes."""
    return json.dumps(facts, indent=2, sort_keys=True, allow_nan=False) + "\n"


def reproduce_script(spec: ConvertSpec) -> str:
    """Return a shell script that makes the artifact again, from the same files."""
    argv = ["triton-kit", "convert", _source_word(spec.source)]
    argv += words_of(replace(spec, cache=None, dry_run=False))
    command = shlex.join(argv).replace(" --", " \\\n  --")
    return (
        "#!/bin/sh\n"
        "# Makes this artifact again; argument 1 is the folder to write.\n"
        f'set -eu\nexec {command} \\\n  --output "${{1:-again}}"\n'
    )


def _source_word(source: Path | str) -> str:
    return str(source.resolve()) if isinstance(source, Path) else source
