"""A repository as it will be: what is there by links, for drafts to be added to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.repository.publish.layout import model_folder


def link_models(root: Path, names: Iterable[str], folder: Path) -> None:
    """Show the models of a repository in `folder`, as far as they are there.

    Every folder is a new one and every file a link: what is published to `folder`
    takes a link's place, and never reaches the file behind it.

    Raises:
        RepositoryError: a model that is there cannot be listed.
    """
    for name in names:
        model = model_folder(root.absolute(), name)
        if not model.is_dir():
            continue
        try:
            _link(model, model_folder(folder, name))
        except OSError as error:
            raise RepositoryError(
                f"{error.filename or model}: cannot be read: {error.strerror}"
            ) from error


def _link(there: Path, here: Path) -> None:
    here.mkdir(parents=True)
    for path in there.iterdir():
        # A link to a folder may lead in circles: it is not followed.
        if path.is_dir() and not path.is_symlink():
            _link(path, here / path.name)
        else:
            (here / path.name).symlink_to(path)
