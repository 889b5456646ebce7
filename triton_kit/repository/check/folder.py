"""One model's folder, listed once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

CONFIG_NAME = "config.pbtxt"
CUSTOM_CONFIGS = "configs"  # the folder of --model-config-name


def readable(name: str) -> str:
    """Return a file name as printable text: what is no UTF-8 becomes U+FFFD."""
    return os.fsencode(name).decode(errors="replace")


@dataclass(slots=True)
class ModelFolder:
    """A model's folder as the server lists it.

    Attributes:
        path: the folder.
        name: its name, which the model must have.
        subfolders: the names of the folders in it, sorted; links to folders count.
        files: the names of all else.
        dangling: the names of links that lead nowhere: the server fails on them.
        failure: why it could not be listed; empty if it could.
        custom_config: the file that --model-config-name selects here, if any.
    """

    path: Path
    name: str
    subfolders: tuple[str, ...] = ()
    files: frozenset[str] = frozenset()
    dangling: tuple[str, ...] = ()
    failure: str = ""
    custom_config: Path | None = None
    _listed: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def config_path(self) -> Path:
        """The path of the model's config, whether it is there or not."""
        return self.custom_config or self.path / CONFIG_NAME

    @property
    def has_config(self) -> bool:
        """Whether there is a config, as a file or something other than a folder."""
        return self.custom_config is not None or CONFIG_NAME in self.files

    def content_of(self, subfolder: str) -> frozenset[str]:
        """Return the names in a folder of the model; none, if it cannot be listed."""
        if subfolder not in self._listed:
            try:
                names = frozenset(p.name for p in (self.path / subfolder).iterdir())
            except OSError:
                names = frozenset()
            self._listed[subfolder] = names
        return self._listed[subfolder]


def list_folder(path: Path, *, config_name: str = "") -> ModelFolder:
    """List a model's folder; a failure is noted, not raised.

    Args:
        path: the folder.
        config_name: the server's --model-config-name; empty: config.pbtxt is read.
    """
    folder = ModelFolder(path, readable(path.name))
    custom = path / CUSTOM_CONFIGS / f"{config_name}.pbtxt"
    if config_name and custom.exists():
        folder.custom_config = custom
    subfolders: list[str] = []
    files: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                (subfolders if is_folder(entry) else files).append(entry.name)
    except OSError as error:
        folder.failure = error.strerror or str(error)
    # The server keeps names in a std::set of bytes.
    folder.subfolders = tuple(sorted(subfolders, key=os.fsencode))
    folder.files = frozenset(files)
    folder.dangling = tuple(n for n in sorted(files) if is_dangling(path / n))
    return folder


def is_dangling(path: Path) -> bool:
    """Whether a path is a link that leads nowhere, or in circles."""
    return path.is_symlink() and not os.path.exists(path)  # noqa: PTH110  (circles)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in circles, for one
        return False
