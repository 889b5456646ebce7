"""Publish, roll back and promote: each finds the version, and delivers it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError
from triton_kit.provenance import perf_summary
from triton_kit.publish_delivery import PublishOptions, PublishResult, deliver
from triton_kit.publish_sources import (
    SAMPLE_FILE,
    Candidate,
    from_folder,
    read_candidates,
    with_provenance,
)
from triton_kit.repository.publish.layout import CONFIG_FILE, versions
from triton_kit.repository.publish.manifest import (
    files_digest,
    read_manifest,
    verify_manifest,
    version_digest,
)
from triton_kit.repository.publish.publish import refuse_bad_names
from triton_kit.repository.publish.state import State, state_folder
from triton_kit.repository.publish.verify import require_model


def publish(
    source: Path,
    repository: Path,
    *,
    names: Sequence[str] = (),
    target: str | None = None,
    sample: Path | None = None,
    perf: Path | None = None,
    required: str = "",
    canary: bool = False,
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish models to a repository: all of them, or none.

    Args:
        source: a project, a repository, a model's folder, or a model file.
        repository: where they go.
        names: the models to publish; empty: all. Of a file: its name.
        target: of a project.
        sample: an .npz of inputs that the smoke test sends; it travels along.
        perf: a JSON result of `perf`, which travels along.
        required: objectives that this result has to meet.
        canary: serve the new version beside the old one, until it is finished.
        options: how.

    Raises:
        TritonKitError: something is in the way; the repository is as it was.
    """
    how = options or PublishOptions()
    refuse_bad_names(repository, names)
    with read_candidates(
        source,
        names=names,
        repository=repository,
        target=target,
        on_progress=how.on_progress,
    ) as found:
        found = _with_extras(source, found, sample, perf, is_single=canary)
        return deliver(
            repository,
            found,
            action="canary" if canary else "publish",
            required=required,
            options=how,
        )


def _with_extras(
    source: Path,
    found: list[Candidate],
    sample: Path | None,
    perf: Path | None,
    *,
    is_single: bool,
) -> list[Candidate]:
    """Return the candidates with what travels along."""
    if len(found) > 1 and (sample or perf or is_single):
        raise SpecError(
            f"{source}: has {len(found)} models, and a sample, a perf result or a "
            "canary is of one",
            hint="--model NAME",
        )
    if sample is not None:
        found = [_with_sample(found[0], sample)]
    if perf is not None:
        found = [found[0].with_facts(perf=perf_summary(perf, found[0].name))]
    return found


def _with_sample(candidate: Candidate, sample: Path) -> Candidate:
    from triton_kit.samples import read_npz

    read_npz(sample)
    files = {**candidate.version_files, SAMPLE_FILE: sample}
    digests = {n: d for n, d in candidate.digests.items() if n != SAMPLE_FILE}
    return replace(candidate, version_files=files, digests=digests)


def rollback(
    repository: Path,
    name: str,
    *,
    to: int | None = None,
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish the bytes and the config of an earlier version under the next number.

    Args:
        repository: where.
        name: the model.
        to: the version; None: the one before the one that is served.
        options: how.

    Raises:
        TritonKitError: something is in the way; the repository is as it was.
    """
    model = require_model(repository, name)
    number = _earlier(model, versions(model)) if to is None else to
    verify_manifest_of(model, number)
    candidate = replace(from_folder(model, number), is_ours=True)
    entry = State(state_folder(repository)).read()["versions"].get(name, {})
    files = entry.get(str(number), {}).get("files")
    how = options or PublishOptions()
    if files is None:
        how.on_progress(f"{name}: the config of version {number} is not known: kept")
    else:
        candidate = _with_kept_files(candidate, repository, files)
    candidate = candidate.with_facts(restored_from=number)
    facts = {name: {"restored_from": number}}
    return deliver(repository, [candidate], action="rollback", facts=facts, options=how)


def verify_manifest_of(model: Path, number: int) -> None:
    """Refuse a version that is not there or is not as it was published.

    Raises:
        SpecError: it is not there.
        RepositoryError: it was changed.
    """
    there = versions(model)
    if number not in there:
        raise SpecError(
            f"{model}: there is no version {number}",
            hint=f"there are {', '.join(map(str, there)) or 'none'}",
        )
    verify_manifest(model / str(number))


def _earlier(model: Path, there: Sequence[int]) -> int:
    """Return the version before the newest, and before the one that it restored."""
    newest = there[-1] if there else 0
    facts = read_manifest(model / str(newest)) if there else {}
    below = facts.get("provenance", {}).get("restored_from", newest)
    now = files_digest(facts) if facts else ""
    for number in reversed(there):
        if number < below and version_digest(model / str(number)) != now:
            return number
    raise SpecError(
        f"{model}: there is no version before {below}",
        hint=f"--to V names one; there are {', '.join(map(str, there)) or 'none'}",
    )


def _with_kept_files(
    candidate: Candidate, repository: Path, files: Mapping[str, str]
) -> Candidate:
    blobs = State(state_folder(repository)).blobs
    for digest in files.values():
        if not (blobs / digest).is_file():
            raise RepositoryError(f"{blobs / digest}: missing: a file of that version")
    config = candidate.config
    if CONFIG_FILE in files:
        config = (blobs / files[CONFIG_FILE]).read_text("utf-8")
    others = {n: blobs / d for n, d in files.items() if n != CONFIG_FILE}
    return replace(candidate, config=config, files=others)


def promote(
    name: str,
    source: Path,
    repository: Path,
    *,
    version: int | None = None,
    perf: Path | None = None,
    required: str = "",
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish the bytes of a version in one repository to another one.

    Args:
        name: the model.
        source: the repository that has it, such as the one for staging.
        repository: where it goes, such as the one for production.
        version: of `source`; None: the newest.
        perf: a JSON result of `perf`, which travels along.
        required: objectives that the perf result of the version has to meet.
        options: how.

    Raises:
        TritonKitError: something is in the way; `repository` is as it was.
    """
    model = require_model(source, name)
    if os.path.realpath(source) == os.path.realpath(repository):
        raise SpecError(f"{source}: cannot be promoted to itself")
    there = versions(model)
    number = version if version is not None else (there[-1] if there else 0)
    verify_manifest_of(model, number)
    candidate = with_provenance(from_folder(model, number), model)
    facts: dict[str, Any] = {
        "promoted_from": {"repository": source.absolute().name, "version": number}
    }
    candidate = candidate.with_facts(**facts)
    if perf is not None:
        candidate = candidate.with_facts(perf=perf_summary(perf, name))
    return deliver(
        repository,
        [candidate],
        action="promote",
        required=required,
        facts={name: facts},
        options=options or PublishOptions(),
    )
