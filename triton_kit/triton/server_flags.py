"""The flags of tritonserver as data: which there are, and since which release."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from triton_kit.errors import SpecError, nearest
from triton_kit.triton.releases import Release, all_releases


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFlag:
    """One flag of tritonserver.

    Attributes:
        name: with its dashes: `--http-port`.
        value: the type of its value as `tritonserver --help` writes it; `none` for a
            flag without a value.
        since: the first release that has it; "" where the oldest known one does. No
            release has removed a flag.
    """

    name: str
    value: str
    since: str = ""

    def is_in(self, release: Release) -> bool:
        """Whether tritonserver of that release has it."""
        order = [known.release for known in all_releases()]
        if not self.since or not release.is_known:
            return True
        return order.index(self.since) <= order.index(release.release)


@cache
def all_flags() -> dict[str, ServerFlag]:
    """Return every flag that a known release has, by its name with dashes."""
    data = files("triton_kit.triton").joinpath("server_flags.json").read_text("utf-8")
    flags = (
        ServerFlag(**row | {"name": f"--{row['name']}"})
        for row in json.loads(data)["flags"]
    )
    return {flag.name: flag for flag in flags}


def find_flag(name: str) -> ServerFlag:
    """Find a flag by its whole name with dashes.

    Raises:
        SpecError: no known release has it.
    """
    flag = all_flags().get(name)
    if flag is None:
        near = nearest(name, all_flags())
        raise SpecError(
            f"{name}: no release of tritonserver has this flag",
            hint=f"did you mean {near!r}?" if near else "see 'tritonserver --help'",
        )
    return flag


def require_flag(name: str, release: Release) -> None:
    """Refuse a flag that a release does not have.

    Raises:
        SpecError: it came later, or no known release has it.
    """
    flag = find_flag(name)
    if not flag.is_in(release):
        raise SpecError(
            f"{name}: Triton {release.release} ({release.server}) does not have this "
            f"flag; it came in {flag.since}",
            hint=f"use Triton {flag.since} or newer, or leave it out",
        )
