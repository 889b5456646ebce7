"""Which versions of a model a server serves, by the version policy of its config."""

from __future__ import annotations

from collections.abc import Sequence

from triton_kit.repository.config.parse import parse
from triton_kit.repository.config.render import render
from triton_kit.triton.schema import Message


def config_message(text: str | bytes) -> Message:
    """Return the ModelConfig that the text of a config.pbtxt means.

    Raises:
        ConfigSyntaxError: it means none.
    """
    return parse(text).config


def selected_versions(text: str | bytes, there: Sequence[int]) -> tuple[int, ...]:
    """Return the versions that a server loads, ascending.

    Args:
        text: of config.pbtxt.
        there: the versions in the model's folder.
    """
    policy = config_message(text).version_policy
    choice = policy.WhichOneof("policy_choice")
    known = sorted(there)
    if choice == "all":
        return tuple(known)
    if choice == "specific":
        return tuple(n for n in known if n in policy.specific.versions)
    count = policy.latest.num_versions if choice == "latest" else 1
    return tuple(known[-count:]) if count else ()


def with_specific(text: str | bytes, selected: Sequence[int]) -> str:
    """Return a config whose version policy selects these versions and no other."""
    config = config_message(text)
    config.version_policy.Clear()
    config.version_policy.specific.versions.extend(sorted(selected))
    return render(config)
