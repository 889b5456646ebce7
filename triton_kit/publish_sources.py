"""A project, repository, model folder or model file becomes drafts to publish."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError, did_you_mean
from triton_kit.provenance import provenance
from triton_kit.repository.check.incomplete import missing_files
from triton_kit.repository.publish.layout import (
    ARTIFACT_NAMES,
    CONFIG_FILE,
    MANIFEST_FILE,
    model_folder,
    versions,
)
from triton_kit.repository.publish.links import refuse_links_out
from triton_kit.repository.publish.manifest import read_manifest, write_manifest
from triton_kit.repository.publish.publish import Draft
from triton_kit.repository.publish.sync import copy_hashed
from triton_kit.scratch import scratch_folder

PROJECT_FILE = "triton-kit.yaml"
SAMPLE_FILE = "sample.npz"
_OWN_KEYS = ("schema", "files", "digest", "provenance")
_KINDS = {".onnx": "model.onnx", ".plan": "model.plan", ".py": "model.py"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that may be published: its config, its files, what is known of them.

    Attributes:
        version_files: where they are now, by their names in the version's folder.
        files: what goes beside the versions.
        digests: the sha256 that a file has to have, as far as that is known.
        facts, provenance: of the manifest.
        is_ours: whether the files are versions of the same repository.
    """

    name: str
    config: str
    origin: Path
    version_files: Mapping[str, Path]
    files: Mapping[str, bytes | Path] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    is_ours: bool = False

    def with_facts(self, **facts: Any) -> Candidate:  # noqa: ANN401  JSON
        """Return it with more provenance."""
        return replace(self, provenance={**self.provenance, **facts})

    def draft(self) -> Draft:
        """Return what to publish; the files are copied and hashed in one go."""

        def write_version(folder: Path) -> None:
            digests = {}
            for name, source in self.version_files.items():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                digests[name] = self._bring(name, source, target)
            write_manifest(
                folder,
                dict(self.facts) or {"model": self.name},
                digests=digests,
                provenance=self.provenance,
            )

        return Draft(
            name=self.name,
            config=self.config,
            write_version=write_version,
            files=self.files,
        )

    def _bring(self, name: str, source: Path, target: Path) -> str:
        expected = self.digests.get(name)
        if self.is_ours and expected is not None:
            try:  # a version never changes: both may be one file
                os.link(source, target)
            except OSError:
                target.unlink(missing_ok=True)
            else:
                return expected
        found = copy_hashed(source, target)
        if expected not in (None, found):
            raise RepositoryError(
                f"{source}: differs from its manifest",
                hint="it was damaged or edited: build it again",
            )
        return found


@contextmanager
def read_candidates(
    source: Path,
    *,
    names: Sequence[str],
    repository: Path,
    target: str | None,
    on_progress: Callable[[str], None],
) -> Iterator[list[Candidate]]:
    """Yield the models of a source, for as long as their files are there.

    Args:
        source: a project, a repository, a model's folder, or a model file.
        names: the models to publish; empty: all. Of a file: its name.
        repository: has the config of a file whose config is not known.
        target: of a project.
        on_progress: called with a line of text for each step of a build.

    Raises:
        TritonKitError: there is no model, or it cannot be built.
    """
    is_project = source.name == PROJECT_FILE or (source / PROJECT_FILE).is_file()
    if is_project:
        with scratch_folder() as folder:
            built = folder / "models"
            _build(source, built, names, target, on_progress)
            yield [
                replace(c, origin=source) for c in _with_provenance(source, built, ())
            ]
        return
    if target is not None:
        raise SpecError(f"{source}: --target is for projects, and this is none")
    if source.is_file():
        yield [_from_file(source, names, repository)]
    elif (source / CONFIG_FILE).is_file():
        if names and list(names) != [_real_name(source)]:
            raise SpecError(f"{source}: is model {_real_name(source)!r}, not {names}")
        yield [with_provenance(from_folder(source), source)]
    else:
        yield _with_provenance(source, source, names)


def _build(
    source: Path,
    output: Path,
    names: Sequence[str],
    target: str | None,
    on_progress: Callable[[str], None],
) -> None:
    from triton_kit.build_project import build
    from triton_kit.project.load import load_project

    project = load_project(source, target=target)
    build(project, output=output, only=names, on_progress=on_progress)


def _with_provenance(source: Path, root: Path, names: Sequence[str]) -> list[Candidate]:
    folders = {path.name: path for path in sorted(root.iterdir()) if path.is_dir()}
    there = {n: path for n, path in folders.items() if (path / CONFIG_FILE).is_file()}
    if not there:
        raise SpecError(
            f"{root}: no model in it: looked for MODEL/{CONFIG_FILE}",
            hint="name a project, a repository, a model's folder or a model file",
        )
    for name in names:
        if name not in there:
            raise SpecError(
                f"{root}: there is no model {name!r}", hint=did_you_mean(name, there)
            )
    wanted = names or list(there)
    return [with_provenance(from_folder(there[name]), source) for name in wanted]


def with_provenance(candidate: Candidate, source: Path) -> Candidate:
    """Return a candidate that says where it comes from."""
    found = provenance(source, candidate.facts, candidate.provenance)
    return replace(candidate, provenance=found)


def _real_name(model: Path) -> str:
    return model.absolute().name


def from_folder(model: Path, number: int | None = None) -> Candidate:
    """Return a version of a model as a candidate.

    Args:
        model: its folder.
        number: the version; None: the newest.

    Raises:
        SpecError: there is no such version, or the name is none of a model.
        RepositoryError: it waits for a file, or a link leads out of the repository.
    """
    name = _real_name(model)
    model_folder(model.parent, name)
    there = versions(model)
    if not there or (number is not None and number not in there):
        raise SpecError(
            f"{model}: there is no version {'' if number is None else number}".rstrip(),
            hint=f"there are {', '.join(map(str, there)) or 'none'}",
        )
    version = model / str(there[-1] if number is None else number)
    refuse_links_out(model, model.absolute().parent)
    if missing := missing_files(version):
        raise RepositoryError(
            f"{version}: waits for {', '.join(missing)}",
            hint="build its plan on a machine with the target's GPU first",
        )
    manifest = read_manifest(version) if (version / MANIFEST_FILE).exists() else {}
    files = {
        str(path.relative_to(version)): path
        for path in sorted(version.rglob("*"))
        if path.is_file()
        and path != version / MANIFEST_FILE
        and "__pycache__" not in path.parts
    }
    listed = manifest.get("files", {})
    for relative in listed:
        if relative not in files:
            raise RepositoryError(f"{version / relative}: is in its manifest only")
    return Candidate(
        name=name,
        config=(model / CONFIG_FILE).read_text("utf-8", errors="surrogateescape"),
        origin=model,
        version_files=files,
        files=_files_beside(model),
        digests={n: str(f.get("sha256")) for n, f in listed.items()},
        facts={k: v for k, v in manifest.items() if k not in _OWN_KEYS},
        provenance=manifest.get("provenance", {}),
    )


def _files_beside(model: Path) -> dict[str, bytes | Path]:
    """Return the files of a model that are in no version, but its config."""
    numbers = {str(number) for number in versions(model)}
    return {
        str(path.relative_to(model)): path
        for path in sorted(model.rglob("*"))
        if path.is_file()
        and path != model / CONFIG_FILE
        and path.relative_to(model).parts[0] not in numbers
    }


def _from_file(source: Path, names: Sequence[str], repository: Path) -> Candidate:
    artifact = _KINDS.get(source.suffix)
    if artifact is None or len(names) > 1:
        raise SpecError(
            f"{source}: not a model file: expected one of {', '.join(_KINDS)}"
            if artifact is None
            else f"{source}: is one model, and {len(names)} names are given",
            hint="name a project, a repository, a model's folder or a model file",
        )
    name = names[0] if names else _real_name(source).removesuffix(source.suffix)
    there = model_folder(repository, name) / CONFIG_FILE
    config = there.read_text("utf-8") if there.is_file() else None
    files = {artifact: source}
    if artifact == ARTIFACT_NAMES["onnxruntime"]:
        from triton_kit.conversion.onnx.onnx_file import artifact_files

        files |= {path.name: path for path in artifact_files(source)[1:]}
        config = config or _config_of(source, name)
    if config is None:
        raise SpecError(
            f"{source}: {repository} has no model {name!r}, and a {source.suffix} "
            "file does not say its config",
            hint=f"--model M, or a folder with {CONFIG_FILE} and 1/{artifact}",
        )
    found = Candidate(name=name, config=config, origin=source, version_files=files)
    facts = {"model": name, "source": {"file": source.name}}
    return with_provenance(replace(found, facts=facts), source)


def _config_of(source: Path, name: str) -> str:
    from triton_kit.repository.config.render import render
    from triton_kit.repository.generate.generate import config_from_onnx

    return render(config_from_onnx(source, name=name))
