"""Models whose files are published as they are: Python models, and other backends'."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any  # JSON values

from triton_kit.built import Built, declared_tensors, max_batch_size, no_source
from triton_kit.errors import SpecError
from triton_kit.project.fields import config_fields
from triton_kit.project.spec import ModelSpec, Project
from triton_kit.repository.check.normalize import default_filename
from triton_kit.repository.generate.config import model_config
from triton_kit.repository.publish.layout import ARTIFACT_NAMES
from triton_kit.repository.publish.manifest import sha256

_MODEL_FILE = ARTIFACT_NAMES["python"]
_SKIPPED = ("__pycache__",)


def is_as_is(project: Project, spec: ModelSpec) -> bool:
    """Whether a model is published as it is: nothing of it is converted."""
    source = project.path(spec.source)
    is_python = source.suffix == ".py" or (source / _MODEL_FILE).is_file()
    return is_python or spec.backend is not None


def build_as_is(project: Project, name: str, spec: ModelSpec) -> Built:
    """Make a model ready to publish whose files its backend reads as they are.

    Raises:
        SpecError: there is no such file, it is not Python, or its tensors are not
            declared.
    """
    source = project.path(spec.source)
    if not source.exists():
        raise no_source(name, source)
    backend = spec.backend or "python"
    fields = config_fields(spec)
    files = dict(_files(source))
    expected = fields.get("default_model_filename") or default_filename(backend)
    if source.is_file() and expected:
        files = {expected: source}
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


def _described(source: Path) -> dict[str, Any]:
    if source.is_dir():
        return {"folder": source.name}
    return {"file": source.name, "sha256": sha256(source)}


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of a source by their names in the version's folder."""
    if source.is_file():
        yield source.name, source
        return
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
