"""Configurations of a search into a repository: one to check, or the winner's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.files import copy_new, write_whole
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.render import render
from triton_kit.repository.generate.config import config_from_fields
from triton_kit.repository.publish.layout import CONFIG_FILE, versions
from triton_kit.repository.publish.manifest import write_manifest
from triton_kit.tuning.model_fields import (
    Config,
    as_config,
    with_served_lists,
    with_settings,
)
from triton_kit.tuning.space import Value
from triton_kit.tuning.variants import Variant


def config_check(
    repository: Path,
    models: Mapping[str, Config],
    folder: Path,
    *,
    gpus: int | None = None,
) -> Callable[[dict[str, Config]], str]:
    """Return what tells why a server would refuse configurations.

    Args:
        repository: where the files of the models are.
        models: the configurations that load as they are.
        folder: an empty one, for links to the files and the configurations to check.
        gpus: how many the server sees; None: all of this machine.
    """
    for name in models:
        (folder / name).mkdir()
        for entry in (repository / name).iterdir():
            if entry.name != CONFIG_FILE:
                (folder / name / entry.name).symlink_to(entry.resolve())
    if gpus is None:
        gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))

    def errors(configs: Mapping[str, Config]) -> list[str]:
        for name, config in configs.items():
            text = render(config_from_fields(name, config))
            (folder / name / CONFIG_FILE).write_text(text)
        return [
            f"{finding.model}: {finding.message}"
            for finding in check_repository(folder, gpus=gpus).errors
        ]

    # What the check holds against the settings that do load says nothing of others.
    known = set(errors(models))

    def check(configs: dict[str, Config]) -> str:
        return next((error for error in errors(configs) if error not in known), "")

    return check


def written_configs(
    repository: Path | None, models: Iterable[str]
) -> dict[str, Config] | None:
    """Return the own config.pbtxt of models; None without a repository."""
    if repository is None:
        return None
    return {name: _written(repository / name) for name in models}


def _written(folder: Path) -> Config:
    path = folder / CONFIG_FILE
    if not path.is_file():
        return {}
    return as_config(parse(path.read_bytes(), path=path).config)


def _tuned_text(
    folder: Path, model: str, settings: Mapping[str, Value], served: Config
) -> str:
    """Return a model's own config.pbtxt with settings in it.

    Args:
        folder: of the model; without a config.pbtxt it is made of the settings alone.
        model: its name.
        settings: what changes.
        served: the configuration as the server completed it.
    """
    config = with_served_lists(model, _written(folder), served, settings)
    return render(config_from_fields(model, with_settings(model, config, settings)))


def write_winner(
    repository: Path,
    output: Path,
    models: Mapping[str, Config],
    settings: Mapping[str, Mapping[str, Value]],
    variants: Mapping[str, Variant],
) -> None:
    """Copy models into a new repository, with settings in their config.pbtxt.

    Args:
        repository: where they are.
        output: the new repository.
        models: their configurations as the server completed them, by name.
        settings: of each model that changes.
        variants: of each model that was converted: files of its newest version.

    Raises:
        RepositoryError: the place is taken by something else.
    """
    if output.exists() and not output.is_dir():
        raise RepositoryError(f"{output}: expected a folder, found a file")
    for name in models:
        for source in sorted((repository / name).rglob("*")):
            target = output / name / source.relative_to(repository / name)
            if source.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif source.name != CONFIG_FILE or source.parent != repository / name:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                copy_new(source, target)
        text = _tuned_text(
            repository / name, name, settings.get(name, {}), models[name]
        )
        (output / name).mkdir(parents=True, exist_ok=True)
        if name in variants:
            newest = output / name / str(versions(output / name)[-1])
            _replace_version(newest, variants[name])
            text = _with_graph(text, variants[name], settings[name])
        write_whole(output / name / CONFIG_FILE, text)


def _replace_version(version: Path, variant: Variant) -> None:
    for path in version.iterdir():
        if path.is_file():
            path.unlink()
    for name, source in variant.files.items():
        copy_new(source, version / name)
    write_manifest(version, variant.facts)


def _with_graph(text: str, variant: Variant, settings: Mapping[str, Value]) -> str:
    """Return a config.pbtxt with the graph level that the variant's files need."""
    if "graph_level" in settings:
        return text
    config = parse(text.encode()).config
    config.optimization.ClearField("graph")
    if variant.graph:
        config.optimization.graph.level = variant.graph["level"]
    elif not config.optimization.ByteSize():
        config.ClearField("optimization")
    return render(config)
