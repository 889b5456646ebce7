"""The public Python functions that change a repository while it is served.

As in `api`: paths are `str` or `PathLike`; a function returns a result or raises a
TritonKitError, and prints nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: JSON

if TYPE_CHECKING:
    from triton_kit.publish_delivery import PublishOptions, PublishResult
    from triton_kit.publish_upkeep import PruneResult, VersionInfo
    from triton_kit.repository.publish.verify import VerifyReport

AnyPath = str | os.PathLike[str]


def publish(
    source: AnyPath,
    repository: AnyPath,
    *,
    models: Sequence[str] = (),
    target: str | None = None,
    sample: AnyPath | None = None,
    perf: AnyPath | None = None,
    require: str = "",
    canary: bool = False,
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish models to a repository: all of them, or none.

    Args:
        source: a project, a repository, a model's folder, or a model file.
        repository: where they go.
        models: publish these only; of a model file: its name.
        target: one of the project's targets; None: the first.
        sample: an .npz of inputs for the smoke test; travels with the version.
        perf: a JSON result of `perf` for the model; travels with the version.
        require: objectives that it has to meet, such as `p99<20ms`.
        canary: serve the new version beside the old one, until `end_canary`.
        options: the server that loads the models, the release, the checks.
    """
    from triton_kit import publishing

    return publishing.publish(
        Path(source),
        Path(repository),
        names=models,
        target=target,
        sample=_path(sample),
        perf=_path(perf),
        required=require,
        canary=canary,
        options=options,
    )


def rollback(
    repository: AnyPath,
    model: str,
    *,
    to: int | None = None,
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish the bytes and the config of an earlier version under the next number.

    Args:
        repository: where.
        model: its name.
        to: the version; None: the one before the newest.
        options: the server that loads it, the release, the checks.
    """
    from triton_kit import publishing

    return publishing.rollback(Path(repository), model, to=to, options=options)


def promote(
    model: str,
    source: AnyPath,
    repository: AnyPath,
    *,
    version: int | None = None,
    perf: AnyPath | None = None,
    require: str = "",
    options: PublishOptions | None = None,
) -> PublishResult:
    """Publish the same bytes of a version in another repository.

    Args:
        model: its name.
        source: the repository that has it, such as the one for staging.
        repository: where it goes, such as the one for production.
        version: of `source`; None: the newest.
        perf: a JSON result of `perf` for the model; travels with the version.
        require: objectives that the version's perf result has to meet.
        options: the server that loads it, the release, the checks.
    """
    from triton_kit import publishing

    return publishing.promote(
        model,
        Path(source),
        Path(repository),
        version=version,
        perf=_path(perf),
        required=require,
        options=options,
    )


def finish_canary(
    repository: AnyPath, model: str, *, options: PublishOptions | None = None
) -> PublishResult:
    """Serve the new version of a canary alone."""
    from triton_kit.publish_upkeep import end_canary

    return end_canary(Path(repository), model, how="finish", options=options)


def abort_canary(
    repository: AnyPath, model: str, *, options: PublishOptions | None = None
) -> PublishResult:
    """Serve the old version again, and remove the canary."""
    from triton_kit.publish_upkeep import end_canary

    return end_canary(Path(repository), model, how="abort", options=options)


def prune(
    repository: AnyPath, models: Sequence[str] = (), *, keep: int = 3
) -> PruneResult:
    """Remove the oldest versions of models; no version that is served.

    Args:
        repository: where.
        models: these only; empty: all.
        keep: how many versions of each model stay.
    """
    from triton_kit import publish_upkeep

    return publish_upkeep.prune(Path(repository), models, keep=keep)


def verify(repository: AnyPath, models: Sequence[str] = ()) -> VerifyReport:
    """Compare every file of a repository with what was published, by sha256.

    Args:
        repository: where.
        models: these only; empty: all.
    """
    from triton_kit.repository.publish import verify as verifying
    from triton_kit.repository.publish.transaction import recover

    recover(Path(repository))
    return verifying.verify(Path(repository), models)


def versions(repository: AnyPath, models: Sequence[str] = ()) -> list[VersionInfo]:
    """Return the versions of models, and which of them are served."""
    from triton_kit.publish_upkeep import list_versions

    return list_versions(Path(repository), models)


def history(repository: AnyPath, models: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the changes of a repository, the oldest first."""
    from triton_kit.publish_upkeep import read_history

    return read_history(Path(repository), models)


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)
