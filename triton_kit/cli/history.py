"""`triton-kit history`."""

from __future__ import annotations

from pathlib import Path
from typing import Any  # JSON

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, repository_argument
from triton_kit.cli.output import echo, echo_json


@kit_command(
    examples=("triton-kit history models", "triton-kit history models -m digits --json")
)
@repository_argument("The repository.")
@kit_option(
    "-m",
    "--model",
    "names",
    multiple=True,
    metavar="NAME",
    help="Changes of this model alone.  Repeatable.",
)
@json_option()
def command(repository: Path, *, names: tuple[str, ...], as_json: bool) -> None:
    """List the changes of REPOSITORY, the newest first.

    A change that was undone is listed with the reason.
    """
    from triton_kit.publish_upkeep import read_history

    records = read_history(repository, names)[::-1]
    if as_json:
        echo_json({"changes": records})
        return
    width = max((len(str(record["action"])) for record in records), default=0)
    for record in records:
        echo(_line(record, width))


def _line(record: dict[str, Any], width: int) -> str:
    when = str(record["time"])[:19].replace("T", " ")
    models = ", ".join(f"{m['name']} {m['version']}" for m in record["models"])
    server = f"  on {record['server']}" if "server" in record else ""
    line = f"{when}  {record['action']:{width}}  {models}{server}"
    if record["outcome"] != "done":
        line += f"  undone: {str(record.get('reason', '')).splitlines()[0]}"
    return line
