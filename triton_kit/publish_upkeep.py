"""What becomes of versions that are published: listed, finished, aborted, pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal  # Any: JSON

from triton_kit.errors import RepositoryError, SpecError, TritonKitError
from triton_kit.publish_delivery import PublishOptions, PublishResult, confirming
from triton_kit.repository.check.incomplete import missing_files
from triton_kit.repository.publish.changes import Step
from triton_kit.repository.publish.layout import (
    CONFIG_FILE,
    MANIFEST_FILE,
    model_names,
    versions,
)
from triton_kit.repository.publish.manifest import files_digest, read_manifest, sha256
from triton_kit.repository.publish.policy import selected_versions, with_specific
from triton_kit.repository.publish.publish import Published
from triton_kit.repository.publish.state import State, state_folder
from triton_kit.repository.publish.transaction import (
    Change,
    Transaction,
    flush_tree,
    recover,
    transaction,
)
from triton_kit.repository.publish.verify import require_model

DEFAULT_KEPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """One version of a model, and what its manifest and the history say of it.

    Attributes:
        digest: of its files; "" without a manifest.
        is_served: whether the version policy selects it.
        role: `canary` or `old` of a canary; else "".
        published: when, as ISO 8601; "" if the kit does not know.
        action: how it came: `publish`, `rollback` and so on.
        provenance: of its manifest.
        missing: the files that it waits for.
    """

    model: str
    version: int
    digest: str
    is_served: bool
    role: str = ""
    published: str = ""
    action: str = ""
    provenance: Mapping[str, Any]
    missing: tuple[str, ...] = ()


def list_versions(repository: Path, names: Sequence[str] = ()) -> list[VersionInfo]:
    """Return the versions of the models of a repository, the newest of each first.

    Args:
        repository: where.
        names: the models; empty: all.

    Raises:
        RepositoryError: there is no such repository or model.
    """
    recover(repository)
    state = State(state_folder(repository))
    known, history = state.read(), state.history()
    found = []
    for name in names or model_names(repository):
        model = require_model(repository, name)
        there = versions(model)
        served: tuple[int, ...] = ()
        with suppress(OSError, TritonKitError):
            served = selected_versions((model / CONFIG_FILE).read_bytes(), there)
        canary = known["canary"].get(name, {})
        roles = {canary.get("new"): "canary", canary.get("old"): "old"}
        for number in reversed(there):
            found.append(
                _info(model, number, number in served, roles.get(number, ""), history)
            )
    return found


def _info(
    model: Path,
    number: int,
    is_served: bool,
    role: str,
    history: Sequence[Mapping[str, Any]],
) -> VersionInfo:
    version = model / str(number)
    manifest: dict[str, Any] = {}
    if (version / MANIFEST_FILE).is_file():
        with suppress(RepositoryError):
            manifest = read_manifest(version)
    record = _record_of(history, model.name, number)
    return VersionInfo(
        model=model.name,
        version=number,
        digest=files_digest(manifest) if manifest else "",
        is_served=is_served,
        role=role,
        published=str(record.get("time", "")),
        action=str(record.get("action", "")),
        provenance=manifest.get("provenance", {}),
        missing=missing_files(version),
    )


def _record_of(
    history: Sequence[Mapping[str, Any]], name: str, number: int
) -> Mapping[str, Any]:
    """Return the change that brought a version."""
    for record in history:
        for model in record.get("models", ()):
            is_it = model.get("name") == name and model.get("version") == number
            if is_it and record.get("outcome") == "done":
                return record
    return {}


def read_history(repository: Path, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the changes of a repository, the oldest first.

    Args:
        repository: where.
        names: only changes of these models; empty: all.

    Raises:
        RepositoryError: there is no such repository.
    """
    model_names(repository)
    recover(repository)
    records = State(state_folder(repository)).history()
    if not names:
        return records
    return [r for r in records if {m["name"] for m in r["models"]} & set(names)]


def end_canary(
    repository: Path,
    name: str,
    *,
    how: Literal["finish", "abort"],
    options: PublishOptions | None = None,
) -> PublishResult:
    """Serve the new version of a canary alone, or the old one again.

    Args:
        repository: where.
        name: the model.
        how: `abort` removes the new version; its number is not used again.
        options: `server`, `smoke`, `lock_within_s` and `on_progress` have an effect.

    Raises:
        TritonKitError: something is in the way; the repository is as it was.
    """
    given = options or PublishOptions()
    require_model(repository, name)
    with transaction(repository, within_s=given.lock_within_s) as change:
        known = change.state.read()
        canary = known["canary"].pop(name, None)
        if canary is None:
            raise SpecError(
                f"{repository}: there is no canary of {name!r}",
                hint="triton-kit publish ARTIFACT REPO --canary starts one",
            )
        serving, steps = _ending(change, name, canary, known, how)
        notes: list[str] = []
        record = {"name": name, "version": serving}
        with confirming(repository, [name], given, notes) as confirm:
            change.commit(
                Change(
                    action=f"canary {how}",
                    steps=tuple(steps),
                    models=(record,),
                    known=known,
                    server=given.server.url if given.server else "",
                ),
                confirm=confirm,
            )
    return PublishResult(
        repository=repository,
        action=f"canary {how}",
        models=(Published(name=name, version=serving, changed=True),),
        notes=tuple(notes),
        is_loaded=given.server is not None,
    )


def _ending(
    change: Transaction,
    name: str,
    canary: Mapping[str, Any],
    known: dict[str, Any],
    how: str,
) -> tuple[int, list[Step]]:
    """Return the version that serves in the end, and the renames; update `known`."""
    if how == "abort":
        known["versions"].get(name, {}).pop(str(canary["new"]), None)
        return canary["old"], _abort_steps(change, name, canary)
    entry = known["versions"][name][str(canary["new"])]
    entry["files"][CONFIG_FILE] = _keep(change, name, canary["new_config"])
    return canary["new"], _finish_steps(change, name, canary)


def _finish_steps(
    change: Transaction, name: str, canary: Mapping[str, Any]
) -> list[Step]:
    current = _current_config(change, name)
    return [_config_step(change, name, canary["new_config"], current, "finish")]


def _abort_steps(
    change: Transaction, name: str, canary: Mapping[str, Any]
) -> list[Step]:
    """Return the renames; a server that polls never selects the new version alone."""
    current = _current_config(change, name)
    alone = with_specific(canary["config"], [canary["old"]])
    return [
        _config_step(change, name, alone, current, "alone"),
        Step(kind="remove", path=f"{name}/{canary['new']}", kept=f"{name}-aborted"),
        _config_step(change, name, canary["config"], alone, "before"),
    ]


def _current_config(change: Transaction, name: str) -> str:
    return (change.root / name / CONFIG_FILE).read_text("utf-8")


def _config_step(
    change: Transaction, name: str, text: str, before: str, label: str
) -> Step:
    """Return the rename that replaces a config; what it replaces can come back."""
    folder = change.folder / label
    folder.mkdir()
    (folder / "new").write_text(text, "utf-8")
    (folder / "old").write_text(before, "utf-8")
    flush_tree(folder)
    return Step(
        kind="replace",
        path=f"{name}/{CONFIG_FILE}",
        staged=f"{label}/new",
        kept=f"{label}/old",
    )


def _keep(change: Transaction, name: str, text: str) -> str:
    path = change.folder / f"{name}.config"
    path.write_text(text, "utf-8")
    digest = sha256(path)
    change.state.keep(path, digest)
    return digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneResult:
    """Which versions were removed, and which models keep more than was asked."""

    repository: Path
    removed: tuple[tuple[str, int], ...]
    notes: tuple[str, ...] = ()
    was_dry_run: bool = False


def prune(
    repository: Path,
    names: Sequence[str] = (),
    *,
    keep: int = DEFAULT_KEPT,
    options: PublishOptions | None = None,
) -> PruneResult:
    """Remove the oldest versions of models; no version that is served.

    Args:
        repository: where.
        names: the models; empty: all.
        keep: how many versions of each model stay.
        options: `lock_within_s` and `dry_run` have an effect.

    Raises:
        SpecError: `keep` is not positive.
        RepositoryError: there is no such model, or the disk is in the way.
    """
    if keep < 1:
        raise SpecError(f"keep {keep} versions: need at least 1")
    given = options or PublishOptions()
    model_names(repository)
    with transaction(repository, within_s=given.lock_within_s) as change:
        known, notes = change.state.read(), list[str]()
        removed = []
        for name in names or model_names(repository):
            model = require_model(repository, name)
            numbers, note = _too_many(model, keep)
            notes += [note] if note else []
            removed += [(name, number) for number in numbers]
        if removed and not given.dry_run:
            _remove(change, removed, known)
    return PruneResult(
        repository=repository,
        removed=tuple(removed),
        notes=tuple(notes),
        was_dry_run=given.dry_run,
    )


def _too_many(model: Path, keep: int) -> tuple[list[int], str]:
    there = versions(model)
    old = there[:-keep]
    if not old:
        return [], ""
    try:
        served = selected_versions((model / CONFIG_FILE).read_bytes(), there)
    except (OSError, TritonKitError):
        return [], f"{model.name}: kept all: its config cannot be read"
    stay = [number for number in old if number in served]
    gone = [number for number in old if number not in served]
    names = ", ".join(map(str, stay))
    return gone, f"{model.name}: kept {names}: served" if stay else ""


def _remove(
    change: Transaction, removed: Sequence[tuple[str, int]], known: dict[str, Any]
) -> None:
    steps = []
    highest: dict[str, int] = {}
    for name, number in removed:
        kept = f"pruned-{name}-{number}"
        steps.append(Step(kind="remove", path=f"{name}/{number}", kept=kept))
        known["versions"].get(name, {}).pop(str(number), None)
        highest[name] = max(versions(change.root / name))
    models = [{"name": name, "version": number} for name, number in removed]
    change.commit(
        Change(
            action="prune",
            steps=tuple(steps),
            models=tuple(models),
            highest=highest,
            known=known,
        )
    )
    used = {
        digest
        for listed in known["versions"].values()
        for entry in listed.values()
        for digest in entry.get("files", {}).values()
    }
    for blob in change.state.blobs.iterdir() if change.state.blobs.exists() else ():
        if blob.name not in used:
            blob.unlink(missing_ok=True)
