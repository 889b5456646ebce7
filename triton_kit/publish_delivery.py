"""The way of every new version: staged, checked, tried, renamed, loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # JSON

from triton_kit.errors import RepositoryError, SpecError, TritonKitError
from triton_kit.publish_checks import (
    LiveServer,
    check_preview,
    preview,
    restore_live,
    scratch_load,
    serve_live,
    server_release,
)
from triton_kit.publish_require import require
from triton_kit.publish_sources import Candidate
from triton_kit.repository.publish.layout import CONFIG_FILE, model_folder, versions
from triton_kit.repository.publish.policy import selected_versions, with_specific
from triton_kit.repository.publish.publish import (
    Published,
    Staged,
    commit,
    next_version,
    stage,
)
from triton_kit.repository.publish.state import LOCK_WITHIN_S
from triton_kit.repository.publish.transaction import Transaction, transaction

DEFAULT_RELEASE = "24.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishOptions:
    """How a change reaches a repository, whatever the change is.

    Attributes:
        release: the Triton release that the check is for; "": that of the server, or
            that of the embedded one.
        scratch_load: load new versions in an embedded server first.
        smoke: send a request to each new version, and refuse NaN and infinity.
        server: where the repository is served; None: nothing is loaded.
        lock_within_s: how long to wait for another publisher.
        dry_run: check and try everything, and change nothing.
        on_progress: called with a line of text for each step.
    """

    release: str = ""
    scratch_load: bool = True
    smoke: bool = True
    server: LiveServer | None = None
    lock_within_s: float = LOCK_WITHIN_S
    dry_run: bool = False
    on_progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishResult:
    """What became of each model.

    Attributes:
        repository: where.
        action: `publish`, `rollback` and so on.
        models: the versions that have the content.
        notes: what was not tried, and why.
        is_loaded: whether a server serves it now.
        was_dry_run: whether nothing was changed.
    """

    repository: Path
    action: str
    models: tuple[Published, ...]
    notes: tuple[str, ...] = ()
    is_loaded: bool = False
    was_dry_run: bool = False


def deliver(
    root: Path,
    candidates: Sequence[Candidate],
    *,
    action: str,
    options: PublishOptions,
    required: str = "",
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> PublishResult:
    """Stage, check, try, rename and load: the way of every new version."""
    for candidate in candidates if required else ():
        for line in require(
            candidate.provenance.get("perf"), required, what=candidate.name
        ):
            options.on_progress(f"{candidate.name}: {line}")
    release = _release(options)
    with _opened(root, options) as change:
        known = change.state.read()
        canary: dict[str, dict[str, Any]] = {}
        for candidate in candidates:
            _refuse_canary(root, candidate.name, known)
        if action == "canary":
            [candidate] = candidates
            candidates, canary = _as_canary(change, candidate)
        options.on_progress(f"staging {', '.join(c.name for c in candidates)}")
        staged = [stage(change, candidate.draft()) for candidate in candidates]
        for one in staged:
            _refuse_unserved(root, one)
            if action == "canary" and not one.is_new_version:
                raise SpecError(
                    f"{root}: version {one.version} of {one.name!r} has this content",
                    hint="a canary is another version: leave --canary out",
                )
        changed = [one for one in staged if one.steps]
        notes = _try(change, changed, release, options)
        if changed and not options.dry_run:
            _commit(change, staged, action, facts, canary, options, notes)
        return PublishResult(
            repository=root,
            action=action,
            models=tuple(one.published for one in staged),
            notes=tuple(notes),
            is_loaded=bool(changed) and options.server is not None,
            was_dry_run=options.dry_run,
        )


def _release(options: PublishOptions) -> str:
    if options.release or options.server is None:
        return options.release or DEFAULT_RELEASE
    return server_release(options.server)


@contextmanager
def _opened(root: Path, options: PublishOptions) -> Iterator[Transaction]:
    with transaction(root, within_s=options.lock_within_s) as change:
        if change.recovered:
            options.on_progress(change.recovered)
        yield change


def _try(
    change: Transaction,
    changed: Sequence[Staged],
    release: str,
    options: PublishOptions,
) -> list[str]:
    """Check the repository as it will be, and load what changes in a scratch server."""
    if not changed:
        return []
    folder = change.folder / "preview"
    preview(change.root, changed, folder)
    names = [one.name for one in changed]
    options.on_progress(f"checking the repository for Triton {release}")
    check_preview(folder, change.root, names, release)
    if not options.scratch_load:
        return []
    options.on_progress(f"loading {', '.join(names)} in a scratch server")
    return list(scratch_load(folder, changed, with_smoke=options.smoke))


def _commit(
    change: Transaction,
    staged: Sequence[Staged],
    action: str,
    facts: Mapping[str, Mapping[str, Any]] | None,
    canary: Mapping[str, Mapping[str, Any]],
    options: PublishOptions,
    notes: list[str],
) -> None:
    names = [one.name for one in staged if one.steps]
    with confirming(change.root, names, options, notes) as confirm:
        commit(
            change,
            staged,
            action=action,
            facts=facts,
            canary=canary,
            confirm=confirm,
            server=options.server.url if options.server else "",
        )


@contextmanager
def confirming(
    root: Path, names: Sequence[str], options: PublishOptions, notes: list[str]
) -> Iterator[Callable[[], None] | None]:
    """Yield what asks the server; if it refuses, load the old state there again."""
    live = options.server
    if live is None:
        yield None
        return
    was_asked = False

    def confirm() -> None:
        nonlocal was_asked
        was_asked = True
        options.on_progress(f"loading {', '.join(names)} on {live.url}")
        serve_live(live, root, names, with_smoke=options.smoke, on_note=notes.append)

    try:
        yield confirm
    except BaseException as error:
        if was_asked:
            failed = restore_live(live, root, names)
            if isinstance(error, TritonKitError):
                _tell_state(error, root, live, failed)
        raise


def _tell_state(
    error: TritonKitError, root: Path, live: LiveServer, failed: Sequence[str]
) -> None:
    state = f"{root} is as it was"
    if failed:
        state += f", but {live.url} did not load it again: {'; '.join(failed)}"
    else:
        state += f", and {live.url} serves it"
    error.message = f"{error.message}\n{state}"
    error.args = (error.message,)


def _refuse_canary(root: Path, name: str, known: Mapping[str, Any]) -> None:
    if canary := known["canary"].get(name):
        raise RepositoryError(
            f"{root}: version {canary['new']} of {name!r} is a canary beside version "
            f"{canary['old']}",
            hint=f"triton-kit canary finish {name} {root}, or abort",
        )


def _as_canary(
    change: Transaction, candidate: Candidate
) -> tuple[list[Candidate], dict[str, dict[str, Any]]]:
    """Return the candidate with a config that selects the old and the new version."""
    model = model_folder(change.root, candidate.name)
    there = versions(model)
    if not there:
        raise SpecError(
            f"{change.root}: there is no version of {candidate.name!r} to compare a "
            "canary with",
            hint="leave --canary out the first time",
        )
    text = (model / CONFIG_FILE).read_text("utf-8")
    served = selected_versions(text, there)
    old, new = (served or there)[-1], next_version(change, candidate.name)
    both = with_specific(candidate.config, [old, new])
    entry = {"old": old, "new": new, "config": text, "new_config": candidate.config}
    return [replace(candidate, config=both)], {candidate.name: entry}


def _refuse_unserved(root: Path, one: Staged) -> None:
    text = (one.folder / CONFIG_FILE).read_bytes() if one.steps else b""
    if not one.is_new_version or not text:
        return
    there = [*versions(model_folder(root, one.name)), one.version]
    if one.version not in selected_versions(text, there):
        raise SpecError(
            f"model {one.name!r}: its version policy does not select the new version "
            f"{one.version}",
            hint="remove version_policy from its config (or `versions` from the "
            "project), or select latest",
        )
