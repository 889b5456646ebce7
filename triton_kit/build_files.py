"""What goes along with a model: files, labels, warm-up data, a Python environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from triton_kit.build_environment import (
    ENVIRONMENT,
    MODEL_DIRECTORY,
    check_environment,
    environment_of,
)
from triton_kit.built import Built
from triton_kit.errors import SpecError, did_you_mean
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.repository.publish.layout import MANIFEST_FILE
from triton_kit.triton.schema import ModelConfig

_GLOB = re.compile(r"[*?\[]")
_SKIPPED = "__pycache__"


def add_files(
    project: Project, spec: ModelSpec, built: Built, scratch: Path, cache: Path | None
) -> Built:
    """Return a model with everything that its config names or its project lists.

    `files` go into the version's folder, beside the model file; labels, warm-up data
    and a packed environment beside the versions. `cache` keeps environments that the
    kit packed; None: pack again.

    Raises:
        SpecError: a file is not there, two have one name, or pip cannot get a package.
    """
    config = built.config
    name = config.name
    _set_optional(name, spec, config)
    files: dict[str, bytes | Path] = dict(_labels(project, spec, config))
    environment = environment_of(project, name, spec, scratch, cache)
    if environment.name:
        value = f"{MODEL_DIRECTORY}/{environment.name}"
        config.parameters[ENVIRONMENT].string_value = value
    files |= environment.files
    version_files = dict(built.version_files)
    for relative, path in _listed(project, name, spec):
        if f"{MODEL_DIRECTORY}/{relative}" == _environment_path(config):
            files[relative] = path
        elif relative in version_files:
            raise SpecError(
                f"model {name!r}: files: {relative!r} is a file of the model already",
                hint="rename one of the two",
            )
        else:
            version_files[relative] = path
    files |= _warmup(project, spec, config)
    facts = {"environment": environment.facts} if environment.facts else {}
    return replace(
        built,
        version_files=version_files,
        files=files,
        facts={**built.facts, **facts},
        notes=(*built.notes, *environment.notes),
    )


def check_files(project: Project, name: str, spec: ModelSpec) -> None:
    """Refuse a file that a model needs and that is not there.

    Raises:
        SpecError: the file, and the key that names it.
    """
    for _ in _listed(project, name, spec):
        pass
    for tensor in spec.outputs.values():
        if tensor.labels is not None:
            _require_labels(name, project.path(tensor.labels))
    check_environment(project, name, spec)


def _listed(project: Project, name: str, spec: ModelSpec) -> Iterator[tuple[str, Path]]:
    """Yield the files of `files`; those of a folder keep their path from it on."""
    for relative, path in _files(project, name, spec):
        if relative == MANIFEST_FILE:
            raise SpecError(
                f"model {name!r}: files: {relative!r} is the name of the manifest that "
                "each version has",
                hint="rename it, or put it into a folder",
            )
        yield relative, path


def _files(project: Project, name: str, spec: ModelSpec) -> Iterator[tuple[str, Path]]:
    for pattern in spec.files:
        found = _matches(project.root, pattern)
        if not found:
            raise SpecError(
                f"model {name!r}: files: {pattern!r} is not there",
                hint="paths in triton-kit.yaml start at its folder",
            )
        for path in found:
            # Of `..`, too, this has the name; a link keeps its own.
            folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120
            for inner in sorted(path.rglob("*")) if path.is_dir() else [path]:
                if inner.is_file() and _SKIPPED not in inner.parts:
                    yield os.path.relpath(inner, folder), inner


def _matches(root: Path, pattern: str) -> list[Path]:
    path = root / pattern
    if path.exists():
        return [path]
    if not _GLOB.search(pattern) or Path(pattern).is_absolute():
        return []
    # `**` at the end would be folders alone.
    found = root.glob(f"{pattern}/*" if pattern.endswith("**") else pattern)
    return sorted(p for p in found if _SKIPPED not in p.parts and p.is_file())


def _set_optional(name: str, spec: ModelSpec, config: ModelConfig) -> None:
    entries = {entry.name: entry for entry in config.input}
    for tensor, given in spec.inputs.items():
        if not given.optional:
            continue
        if tensor not in entries:
            raise SpecError(
                f"model {name!r}: it has no input {tensor!r}",
                hint=did_you_mean(tensor, entries),
            )
        entries[tensor].optional = True


def _labels(
    project: Project, spec: ModelSpec, config: ModelConfig
) -> Iterator[tuple[str, Path]]:
    """Yield the label files that `labels`, or the config itself, names."""
    for name, path in _label_files(project, spec, config).items():
        _require_labels(config.name, path)
        yield name, path


def _label_files(
    project: Project, spec: ModelSpec, config: ModelConfig
) -> dict[str, Path]:
    """Return label files by their names beside the config; set them in it."""
    entries = {entry.name: entry for entry in config.output}
    found: dict[str, Path] = {}
    for tensor, given in spec.outputs.items():
        if given.labels is None:
            continue
        if tensor not in entries:
            raise SpecError(
                f"model {config.name!r}: it has no output {tensor!r}",
                hint=did_you_mean(tensor, entries),
            )
        path = project.path(given.labels)
        if found.setdefault(path.name, path) != path:
            raise SpecError(
                f"model {config.name!r}: two label files are named {path.name!r}",
                hint="rename one",
            )
        entries[tensor].label_filename = path.name
    for entry in entries.values():
        name = entry.label_filename
        if name and ".." not in Path(name).parts:
            found.setdefault(name, project.path(name))
    return found


def _require_labels(model: str, path: Path) -> None:
    if not path.is_file():
        raise SpecError(
            f"model {model!r}: the label file {path} is not there",
            hint="one label a line; the path starts at the project's folder",
        )


def _environment_path(config: ModelConfig) -> str:
    if ENVIRONMENT not in config.parameters:
        return ""
    return str(config.parameters[ENVIRONMENT].string_value)


def _warmup(project: Project, spec: ModelSpec, config: ModelConfig) -> dict[str, bytes]:
    if not spec.warmup:
        return {}
    from triton_kit.repository.generate.warmup import GENERATED, Warmup, add_warmup

    batch = 1 if config.max_batch_size else 0
    sizes = {n: t.opt[batch:] for n, t in spec.inputs.items() if t.opt is not None}
    files: dict[str, bytes] = {}
    for request in spec.warmup:
        is_file = request.data not in GENERATED
        warmup = Warmup(
            name=request.name,
            source=project.path(request.data) if is_file else request.data,
            batch_sizes=request.sizes(spec.batching),
            count=request.count,
        )
        files |= add_warmup(config, warmup, sizes=sizes)
    return files
