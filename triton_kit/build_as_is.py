"""Models whose files are published as they are: Python models, and other backends'."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # JSON values

from triton_kit.built import Built, declared_tensors, max_batch_size, no_source
from triton_kit.errors import RepositoryError, SpecError
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.repository.check.normalize import default_filename
from triton_kit.repository.generate.config import model_config
from triton_kit.repository.publish.layout import ARTIFACT_NAMES, MANIFEST_FILE
from triton_kit.repository.publish.manifest import read_manifest, sha256

_MODEL_FILE = ARTIFACT_NAMES["python"]
_SKIPPED = ("__pycache__",)


def is_as_is(project: Project, spec: ModelSpec) -> bool:
    """Whether a model is published as it is: nothing of it is converted."""
    source = project.source(spec)
    is_python = source.suffix == ".py" or (source / _MODEL_FILE).is_file()
    return is_python or spec.backend is not None


def build_as_is(project: Project, name: str, spec: ModelSpec) -> Built:
    """Make a model ready to publish whose files its backend reads as they are.

    Raises:
        SpecError: there is no such file, it is not Python, or its tensors are not
            declared.
    """
    source = project.source(spec)
    backend = spec.backend or "python"
    fields = config_fields(spec)
    files = source_files(project, name, spec)
    if backend == "python":
        for path in files.values():
            _check_python(name, path)
    is_batched = max_batch_size(name, fields) > 0
    config = model_config(
        name,
        backend=backend,
        fields=fields,
        inputs=declared_tensors(name, spec.inputs, is_batched=is_batched),
        outputs=declared_tensors(name, spec.outputs, is_batched=is_batched),
    )
    return Built(
        config=config,
        version_files=files,
        facts={"model": name, "kind": backend, "source": _described(source)},
    )


def source_files(project: Project, name: str, spec: ModelSpec) -> dict[str, Path]:
    """Return the files of a model that is published as it is, by their published names.

    Raises:
        SpecError: there is no such file, or one has the name of the manifest.
    """
    source = project.source(spec)
    if not source.exists():
        raise no_source(project, name, spec)
    expected = config_fields(spec).get("default_model_filename") or default_filename(
        spec.backend or "python"
    )
    if source.is_file():
        return {expected or source.name: source}
    files = dict(_files(source))
    manifest = files.get(MANIFEST_FILE)
    if manifest is not None:
        try:
            read_manifest(source)
        except RepositoryError:
            raise used_for_manifest(name, manifest) from None
        del files[MANIFEST_FILE]  # of a version that the kit published
    return files


def used_for_manifest(name: str, path: Path) -> SpecError:
    """Return the error for a file that would take the place of the manifest."""
    return SpecError(
        f"model {name!r}: {path}: {MANIFEST_FILE!r} is the name of the manifest that "
        "each version has",
        hint="rename it, or put it into a folder",
    )


def _described(source: Path) -> dict[str, Any]:
    if source.is_dir():
        return {"folder": source.name}
    return {"file": source.name, "sha256": sha256(source)}


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a folder by their names in the version's folder."""
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not set(_SKIPPED) & set(relative.parts):
            yield str(relative), path


def _check_python(name: str, path: Path) -> None:
    if path.suffix != ".py":
        return
    try:
        ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise SpecError(f"model {name!r}: {path} is not Python: {error}") from error
