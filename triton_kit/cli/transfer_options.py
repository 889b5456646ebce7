"""Options of the commands that move repositories between machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from triton_kit.cli.command import kit_option
from triton_kit.cli.options import Decorator

STORE_ADDRESS = click.STRING
Check = Callable[[Path], object]


def verify_key_option(text: str) -> Decorator:
    """`--verify-key`: the public key that must have signed a repository."""
    return kit_option("--verify-key", metavar="FILE|KEY", help=text)


def checking_signature(key: str | None) -> Check:
    """Return what refuses a repository that the key did not sign."""
    if key is None:
        return lambda _: None
    from triton_kit.transfer.minisign import read_public_key
    from triton_kit.transfer.signature import verify_signature

    read_public_key(key)  # before any work
    return lambda root: verify_signature(root, key)


@contextmanager
def local_repositories(
    places: Sequence[Path | str], verify_key: str | None
) -> Iterator[tuple[Path, ...]]:
    """Yield folders: those in stores are fetched into the cache, and kept there."""
    check = checking_signature(verify_key)
    with ExitStack() as stack:
        folders = []
        for place in places:
            if isinstance(place, str):
                from triton_kit.transfer.pull import cached
                from triton_kit.transfer.stores import open_store, read_address

                store = open_store(read_address(place))
                folders.append(stack.enter_context(cached(store)))
            else:
                folders.append(place)
            check(folders[-1])
        yield tuple(folders)
