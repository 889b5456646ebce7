"""`triton-kit deploy`."""

from __future__ import annotations

import shlex
from dataclasses import fields as fields_of
from pathlib import Path
from typing import TYPE_CHECKING, Any  # Any: what click hands over

import click
import cloup

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.options import (
    json_option,
    output_option,
    release_option,
    repository_argument,
)
from triton_kit.cli.output import echo, echo_json_line, notice
from triton_kit.cli.server_options import server_spec, with_server_options

if TYPE_CHECKING:
    from triton_kit.deployment.spec import Target


@kit_command(
    examples=(
        "triton-kit deploy my-project --to kubernetes -o manifests --gpus 1",
        "triton-kit deploy model_repository --to compose -o stack",
    )
)
@repository_argument("The model repository to serve.")
@cloup.option_group(
    "Deployment",
    kit_option(
        "--to",
        "target",
        required=True,
        type=click.Choice(["kubernetes", "compose", "kserve", "quadlet"]),
        help="Where the server runs.",
    ),
    output_option(
        "Folder to write: new, empty, or from an earlier run.", required=True
    ),
    release_option("Release (26.06) or version (2.70) of Triton.", default="26.06"),
    kit_option(
        "--name", default="triton", metavar="NAME", help="Name of the deployment."
    ),
    kit_option(
        "--triton-image",
        default="",
        metavar="IMAGE",
        show_default=False,
        help="Image of the server, such as one of a mirror.  [default: NVIDIA's of the "
        "release]",
    ),
    kit_option(
        "--image",
        default="",
        metavar="IMAGE",
        show_default=False,
        help="Image that holds the repository in /models.",
    ),
    kit_option(
        "--gpus",
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="Number of GPUs of each server.",
    ),
)
@cloup.option_group(
    "Kubernetes",
    kit_option(
        "--claim",
        default="",
        metavar="NAME",
        show_default=False,
        help="PersistentVolumeClaim with the repository in its folder `models`.  "
        "[default: NAME-repository]",
    ),
    kit_option(
        "--mig",
        default="",
        metavar="PROFILE",
        show_default=False,
        help="Give each server one MIG slice of this profile (1g.10gb), not GPUs.",
    ),
    kit_option(
        "--namespace",
        default="",
        metavar="NAME",
        show_default=False,
        help="Namespace.  [default: that of kubectl]",
    ),
    kit_option(
        "--replicas",
        type=click.IntRange(min=1),
        default=2,
        metavar="N",
        help="Smallest number of servers.",
    ),
    kit_option(
        "--max-replicas",
        type=click.IntRange(min=1),
        metavar="N",
        help="Largest number of servers.  [default: 4 times the smallest]",
    ),
    kit_option(
        "--queue-target",
        "queue_target_ms",
        type=click.FloatRange(min=1),
        default=10.0,
        metavar="MS",
        help="Add servers while requests wait longer than this in the queue.",
    ),
    kit_option(
        "--cpus",
        default="1",
        metavar="QUANTITY",
        help="CPUs that each server gets at least, such as 500m.",
    ),
    kit_option(
        "--memory",
        default="",
        metavar="QUANTITY",
        show_default=False,
        help="Memory of each server, such as 4Gi.  [default: from the models' size]",
    ),
    kit_option(
        "--drain",
        "drain_s",
        type=click.IntRange(min=1),
        default=15,
        metavar="SECONDS",
        help="Time in which a server still responds before SIGTERM.",
    ),
    kit_option(
        "--monitoring-namespace",
        default="monitoring",
        metavar="NAME",
        help="Namespace of Prometheus, which alone may read the metrics.",
    ),
)
@with_server_options(is_local=False)
@json_option("Print one line of JSON with the files that were written.")
def command(
    *,
    repository: Path,
    target: Target,
    output: Path,
    as_json: bool,
    **fields: Any,  # noqa: ANN401
) -> None:
    """Write the files that start a server for REPOSITORY elsewhere.

    The repository is checked first, for the release and the GPUs of the deployment.
    """
    from triton_kit.deployment.deploy import deploy
    from triton_kit.deployment.spec import DeploySpec

    own = {
        f.name: fields.pop(f.name) for f in fields_of(DeploySpec) if f.name in fields
    }
    spec = DeploySpec(server=server_spec((repository,), fields), **own)
    done = deploy(spec, target, output)
    if as_json:
        echo_json_line(
            {
                "folder": str(done.folder),
                "target": done.target,
                "files": done.files,
                "models": done.models,
            }
        )
        return
    for file in done.files:
        echo(str(done.folder / file))
    notice(f"Next: the steps in {shlex.quote(str(done.folder / 'README.md'))}")
