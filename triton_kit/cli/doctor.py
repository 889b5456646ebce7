"""`triton-kit doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from triton_kit.cli.command import kit_command

if TYPE_CHECKING:
    from triton_kit.doctor import Machine


@kit_command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, as_json: bool) -> None:
    """Say what this machine has, what works because of it, what the rest needs."""
    from triton_kit.doctor import abilities, examine

    machine = examine()
    found = abilities(machine)
    if as_json:
        facts = asdict(machine) | {"abilities": [asdict(a) for a in found]}
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in _lines(machine):
        click.echo(f"{name:<17}{value}")
    click.echo()
    for ability in found:
        click.echo(f"{'yes' if ability.works else 'no ':<5}{ability.name}")
        if ability.advice:
            click.echo(f"     needs: {ability.advice}")


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
        *([("gpu", gpu) for gpu in gpus] or [("gpu", "none found (nvidia-smi)")]),
        ("docker", machine.docker or "no engine answers"),
    ]
