"""`triton-kit doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import json_option, release_option
from triton_kit.cli.output import echo, echo_json
from triton_kit.errors import SpecError

if TYPE_CHECKING:
    from triton_kit.doctor import Machine
    from triton_kit.security import Risk


@kit_command(
    examples=(
        "triton-kit doctor",
        "triton-kit doctor --security my-project --release 26.06",
        "triton-kit doctor --security http://localhost:8000",
    )
)
@cloup.argument(
    "target",
    required=False,
    help="With --security: a repository, project or other folder, or the URL of a "
    "server.",
)
@kit_option(
    "--security",
    "is_security",
    is_flag=True,
    help="Show what an attacker could use: open vulnerabilities, keys that others can "
    "read, control without a key, exposed addresses. Exits with 1 if there is any.",
)
@release_option(
    "With --security: the release that serves the folder. Default: that of the "
    "embedded server."
)
@json_option()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    target: str | None,
    is_security: bool,
    release: str | None,
    as_json: bool,
) -> None:
    """Show which features work on this machine, and what the others need."""
    if not is_security:
        if target or release:
            raise SpecError(
                f"{target or '--release'} was given without --security",
                hint="triton-kit doctor --security "
                + (target or f"FOLDER --release {release}"),
            )
        _show_abilities(as_json=as_json)
        return
    risks = _find_risks(target, release)
    if as_json:
        echo_json([asdict(risk) for risk in risks])
    else:
        for risk in risks:
            echo(f"{risk.subject}: {risk.message}\n  hint: {risk.hint}")
        echo(f"risks found: {len(risks)}")
    ctx.exit(1 if risks else 0)


def _find_risks(target: str | None, release: str | None) -> list[Risk]:
    from triton_kit.security import risks_of_folder, risks_of_release, risks_of_server
    from triton_kit.serving.embedded import RELEASE
    from triton_kit.triton.releases import find_release

    if target and not Path(target).exists() and (":" in target or "//" in target):
        if release:
            raise SpecError(
                f"--release {release}: the server says itself what it is",
                hint="leave it out",
            )
        return list(risks_of_server(target))
    risks = list(risks_of_release(find_release(release or RELEASE)))
    return risks + (list(risks_of_folder(Path(target))) if target else [])


def _show_abilities(*, as_json: bool) -> None:
    from triton_kit.doctor import abilities, examine

    machine = examine()
    found = abilities(machine)
    if as_json:
        echo_json(asdict(machine) | {"abilities": [asdict(a) for a in found]})
        return
    for name, value in _lines(machine):
        echo(f"{name:<17}{value}")
    echo("")
    for ability in found:
        echo(f"{'yes' if ability.works else 'no ':<5}{ability.name}")
        if ability.advice:
            echo(f"     needs: {ability.advice}")


def _lines(machine: Machine) -> list[tuple[str, str]]:
    gpus = [
        f"{g.name}, compute capability {g.compute_capability}, {g.memory}, "
        f"driver {g.driver}"
        for g in machine.gpus
    ]
    packages = [(n, v or "not installed") for n, v in machine.packages.items()]
    return [
        ("python", f"{machine.python} on {machine.system}"),
        *packages,
        *([("gpu", gpu) for gpu in gpus] or [("gpu", "none found by nvidia-smi")]),
        ("docker", machine.docker or "no running engine"),
    ]
