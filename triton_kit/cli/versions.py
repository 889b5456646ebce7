"""`triton-kit versions`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, repository_argument
from triton_kit.cli.output import echo, echo_json

if TYPE_CHECKING:
    from triton_kit.publish_upkeep import VersionInfo

_DIGEST = 12


@kit_command(
    examples=("triton-kit versions models", "triton-kit versions models -m digits")
)
@repository_argument("The repository.")
@kit_option(
    "-m",
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="List this model alone.  Repeatable.",
)
@json_option()
def command(repository: Path, *, names: tuple[str, ...], as_json: bool) -> None:
    """List the versions of the models in REPOSITORY, and which of them are served.

    A version is served if the version policy of its model selects it.
    """
    from triton_kit.publish_upkeep import list_versions

    found = list_versions(repository, names)
    if as_json:
        echo_json({"versions": [asdict(version) for version in found]})
        return
    width = max((len(v.model) for v in found), default=0)
    for version in found:
        echo(f"{version.model:{width}}  {_line(version)}".rstrip())


def _line(version: VersionInfo) -> str:
    state = version.role or ("served" if version.is_served else "")
    if version.missing:
        state = f"waits for {', '.join(version.missing)}"
    digest = f"sha256:{version.digest[:_DIGEST]}" if version.digest else "no manifest"
    how = f"{version.action} {version.published[:19].replace('T', ' ')}".strip()
    return "  ".join(
        [f"{version.version:>4}", f"{state:6}", f"{digest:19}", how, *_facts(version)]
    )


def _facts(version: VersionInfo) -> list[str]:
    facts, known = [], version.provenance
    if "restored_from" in known:
        facts.append(f"bytes of version {known['restored_from']}")
    if origin := known.get("promoted_from"):
        facts.append(f"from {origin['repository']} version {origin['version']}")
    if git := known.get("git"):
        dirty = " with changes" if git.get("dirty") else ""
        facts.append(f"git {git['revision'][:_DIGEST]}{dirty}")
    for run in (known.get("perf") or {}).get("runs", [])[:1]:
        if "p99" in run.get("latency_us", {}):
            facts.append(f"p99 {run['latency_us']['p99'] / 1000:.3g} ms")
    return facts
