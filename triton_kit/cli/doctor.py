"""`triton-kit doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option
from triton_kit.cli.output import echo, echo_json

if TYPE_CHECKING:
    from triton_kit.doctor import Machine


@kit_command()
@json_option()
def command(*, as_json: bool) -> None:
    """Show which features work on this machine, and what the others need."""
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
