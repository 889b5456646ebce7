"""A folder as the pages show it: models with what the check finds, and results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON has no type of its own

from triton_kit.errors import TritonKitError
from triton_kit.files import read_text
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.findings import ERROR, CheckReport, Finding
from triton_kit.repository.check.folder import CONFIG_NAME
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.warmup import dims_text
from triton_kit.repository.difference import read_configs
from triton_kit.repository.drawing import Picture, draw
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.manifest import read_manifest
from triton_kit.triton.schema import Message

_PROJECT = "triton-kit.yaml"
_MOST_FILES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of a model: its files with their sizes, and its manifest."""

    number: int
    files: tuple[tuple[str, int], ...]
    manifest: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model folder; `config` is None where it cannot be read."""

    name: str
    folder: Path
    config: Message | None
    findings: tuple[Finding, ...]
    versions: tuple[Version, ...]

    @property
    def backend(self) -> str:
        """Backend or platform."""
        if self.config is None:
            return ""
        return str(self.config.backend or self.config.platform)

    @property
    def size(self) -> int:
        """Bytes of all versions."""
        return sum(version.size for version in self.versions)

    @property
    def errors(self) -> int:
        """Number of errors that the check finds."""
        return sum(finding.severity == ERROR for finding in self.findings)

    @property
    def warnings(self) -> int:
        """Number of warnings that the check finds."""
        return len(self.findings) - self.errors

    def tensors(self, field: str) -> list[tuple[str, str, str]]:
        """Return name, type and shape of each `input` or `output`."""
        if self.config is None:
            return []
        return [
            (
                tensor.name,
                data_type_name(tensor.data_type).removeprefix("TYPE_"),
                dims_text(tensor.dims),
            )
            for tensor in getattr(self.config, field)
        ]

    def config_lines(self) -> list[str]:
        """Return the config's text; nothing where there is none."""
        path = self.folder / CONFIG_NAME
        try:
            return read_text(path).splitlines() if path.is_file() else []
        except TritonKitError:
            return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository, read anew; `problem` is why it could not be checked."""

    root: Path
    names: tuple[str, ...]
    report: CheckReport | None
    problem: str = ""

    def model(self, name: str) -> Model | None:
        """Return a model by its folder's name."""
        if name not in self.names:
            return None
        return self._model(name, _config(self.root / name))

    def models(self) -> list[Model]:
        """Return all models in the order of their names."""
        return [self._model(name, _config(self.root / name)) for name in self.names]

    def general(self) -> list[Finding]:
        """Return the findings that are about no model."""
        return [f for f in self._findings() if f.model not in self.names]

    def pictures(self, name: str | None = None) -> list[Picture]:
        """Return the pipelines of all configs that can be read."""
        read = {model: _config(self.root / model) for model in self.names}
        return draw({m: c for m, c in read.items() if c is not None}, name)

    def _findings(self) -> Sequence[Finding]:
        return self.report.findings if self.report else ()

    def _model(self, name: str, config: Message | None) -> Model:
        folder = self.root / name
        return Model(
            name=name,
            folder=folder,
            config=config,
            findings=tuple(f for f in self._findings() if f.model == name),
            versions=tuple(_version(folder, n) for n in versions(folder)),
        )


def read_repository(root: Path) -> Repository | None:
    """Read a folder as a repository; None if it holds no model."""
    names = tuple(name for name in _folders(root) if _is_model(root / name))
    if not names or _is_model(root):
        return None
    try:
        return Repository(root=root, names=names, report=check_repository([root]))
    except TritonKitError as error:
        return Repository(root=root, names=names, report=None, problem=str(error))


def explain(path: Path) -> str:
    """Say what a folder is that holds neither models nor results."""
    if not path.exists():
        return f"{path} is not there any more."
    if _is_model(path):
        return f"{path} is one model. Name the folder around it: {path.parent}"
    if (path / _PROJECT).is_file():
        inside = path / "model_repository"
        build = f"Run `triton-kit build {path}`, then name {inside}."
        found = f"Name its repository: {inside}" if inside.is_dir() else build
        return f"{path} is a project. {found}"
    if path.is_dir() and not any(path.iterdir()):
        return f"{path} is an empty folder."
    return (
        f"{path} holds no models and no results. A repository holds a folder for each "
        "model, with a config.pbtxt; `triton-kit perf --json FILE` writes a result."
    )


def _folders(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def _is_model(folder: Path) -> bool:
    if (folder / CONFIG_NAME).exists():
        return True
    return any(name.isascii() and name.isdecimal() for name in _folders(folder))


def _config(folder: Path) -> Message | None:
    try:
        return read_configs(folder / CONFIG_NAME)[None]
    except (TritonKitError, OSError):
        return None


def _version(folder: Path, number: int) -> Version:
    root = folder / str(number)
    files = sorted(_files(root))
    try:
        manifest = read_manifest(root)
    except (TritonKitError, OSError):
        manifest = {}
    return Version(number=number, files=tuple(files), manifest=manifest)


def _files(root: Path) -> Iterator[tuple[str, int]]:
    count = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            count += 1
            if count > _MOST_FILES:
                return
            try:
                yield str(path.relative_to(root)), path.stat().st_size
            except OSError:
                yield str(path.relative_to(root)), 0
