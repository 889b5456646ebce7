"""What goes along with a model: files, labels, warm-up data, a Python environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from triton_kit.build_as_is import is_as_is, source_files, used_for_manifest
from triton_kit.build_environment import (
    ENVIRONMENT,
    MODEL_DIRECTORY,
    check_environment,
    environment_of,
)
from triton_kit.built import Built, target_of
from triton_kit.errors import SpecError, did_you_mean
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.repository.generate.warmup import (
    GENERATED,
    Warmup,
    add_warmup,
    read_samples,
)
from triton_kit.repository.publish.layout import CONFIG_FILE, MANIFEST_FILE
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
    files = dict(built.files)
    _add(name, files, dict(_labels(project, spec, config)))
    environment = environment_of(project, name, spec, scratch, cache)
    if environment.name:
        value = f"{MODEL_DIRECTORY}/{environment.name}"
        config.parameters[ENVIRONMENT].string_value = value
    _add(name, files, environment.files)
    version_files = dict(built.version_files)
    for relative, path in _listed(project, name, spec):
        if f"{MODEL_DIRECTORY}/{relative}" == _environment_path(config):
            _add(name, files, {relative: path})
        else:
            _require_new(name, relative, version_files)
            version_files[relative] = path
    _add(name, files, _warmup(project, spec, config))
    facts = {"environment": environment.facts} if environment.facts else {}
    return replace(
        built,
        version_files=version_files,
        files=files,
        facts={**built.facts, **facts},
        notes=(*built.notes, *environment.notes),
    )


def check_files(project: Project, name: str, spec: ModelSpec) -> None:
    """Refuse a file that a model needs and that is not there, or is in the way.

    Raises:
        SpecError: the file, and the key that names it.
    """
    model_files: dict[str, Path] = {f"model.{target_of(project).format}": Path()}
    if is_as_is(project, spec):
        model_files = source_files(project, name, spec)
    for relative, path in _listed(project, name, spec):
        _require_new(name, relative, model_files)
        model_files[relative] = path
    for tensor in spec.outputs.values():
        if tensor.labels is not None:
            _require_labels(name, project.path(tensor.labels))
    check_environment(project, name, spec)


def check_tensors(project: Project, spec: ModelSpec, names: ModelConfig) -> None:
    """Refuse labels, warm-up data and optional inputs of tensors that are not there.

    Args:
        project: where the files are.
        spec: of the model.
        names: a config with the names of its tensors, if no more is known yet.

    Raises:
        SpecError: the tensor, or the file.
    """
    config = ModelConfig()
    config.CopyFrom(names)
    _set_optional(config.name, spec, config)
    files: dict[str, bytes | Path] = {}
    _add(config.name, files, dict(_labels(project, spec, config)))
    if spec.environment is not None:
        path = project.path(spec.environment)
        _add(config.name, files, {path.name: path})
    for warmup in _warmups(project, spec):
        read_samples(config, warmup)


def _add(
    name: str, files: dict[str, bytes | Path], more: Mapping[str, bytes | Path]
) -> None:
    """Add files beside the versions; none may take another's place, or the kit's own.

    Raises:
        SpecError: it does.
    """
    for relative, content in more.items():
        first, *_ = parts = Path(relative).parts
        if relative == CONFIG_FILE or first.isdecimal():
            reason = "is a name that Triton or the kit uses"
        elif Path(relative).is_absolute() or ".." in parts:
            reason = "is outside of the model's folder"
        elif files.setdefault(relative, content) != content:
            reason = "would be there twice"
        else:
            continue
        raise SpecError(
            f"model {name!r}: {relative!r}, beside its versions, {reason}",
            hint="rename it",
        )


def _require_new(name: str, relative: str, there: Mapping[str, Path]) -> None:
    if relative in there:
        raise SpecError(
            f"model {name!r}: files: {relative!r} is a file of the model already",
            hint="rename one of the two",
        )


def _listed(project: Project, name: str, spec: ModelSpec) -> Iterator[tuple[str, Path]]:
    """Yield the files of `files`; those of a folder keep their path from it on."""
    for relative, path in _files(project, name, spec):
        if relative == MANIFEST_FILE:
            raise used_for_manifest(name, path)
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
    batch = 1 if config.max_batch_size else 0
    sizes = {n: t.opt[batch:] for n, t in spec.inputs.items() if t.opt is not None}
    files: dict[str, bytes] = {}
    for warmup in _warmups(project, spec):
        files |= add_warmup(config, warmup, sizes=sizes)
    return files


def _warmups(project: Project, spec: ModelSpec) -> Iterator[Warmup]:
    for request in spec.warmup:
        is_file = request.data not in GENERATED
        yield Warmup(
            name=request.name,
            source=project.path(request.data) if is_file else request.data,
            batch_sizes=request.sizes(spec.batching),
            count=request.count,
        )
