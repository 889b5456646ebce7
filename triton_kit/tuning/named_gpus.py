"""GPUs that configurations of a repository name: a trial must have them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from triton_kit.errors import SpecError
from triton_kit.repository.config.parse import parse
from triton_kit.repository.publish.layout import CONFIG_FILE
from triton_kit.triton.schema import Message


def require_named_gpus(repository: Path, models: Sequence[str], count: int) -> None:
    """Refuse models that name a GPU which a server with `count` GPUs lacks.

    Args:
        repository: where the models are.
        models: what the server loads; steps of pipelines need not be among them.
        count: GPUs of the server, which numbers them from 0.

    Raises:
        SpecError: a model names another one.
        RepositoryError: a configuration cannot be read.
    """
    for name, config in _configs(repository, models):
        for group in config.instance_group:
            for gpu in group.gpus:
                if gpu >= count:
                    raise SpecError(
                        f"model {name!r}: an instance group names GPU {gpu}: a trial "
                        f"has {count} GPU{'s' if count > 1 else ''}, numbered from 0",
                        hint=f"--gpus-per-trial {gpu + 1}, or leave out `gpus` in the "
                        "group: its instances then run on each GPU of the trial",
                    )


def _configs(repository: Path, models: Sequence[str]) -> Iterator[tuple[str, Message]]:
    """Yield the configurations of models and of their steps, at any depth."""
    waiting, known = [*models], set[str]()
    while waiting:
        name = waiting.pop(0)
        path = repository / name / CONFIG_FILE
        if name in known or not path.is_file():
            continue
        known.add(name)
        config = parse(path.read_bytes(), path=path).config
        waiting += [step.model_name for step in config.ensemble_scheduling.step]
        yield name, config
