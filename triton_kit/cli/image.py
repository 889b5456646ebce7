"""`triton-kit image`."""

from __future__ import annotations

from pathlib import Path

from triton_kit.cli.command import kit_command, kit_option
from triton_kit.cli.container_options import ENGINE
from triton_kit.cli.options import release_option, repository_argument
from triton_kit.cli.output import echo, notice


@kit_command(
    examples=(
        "triton-kit image my-project -t registry.example/digits:1 --release 26.07",
        "triton-kit image my-project -t digits:1 --print",
    )
)
@repository_argument("The model repository to bake into the image.")
@kit_option(
    "-t", "--tag", required=True, metavar="NAME:TAG", help="Name of the new image."
)
@release_option("Triton release. Default: that of the image, or the newest.")
@kit_option(
    "--image",
    default="",
    metavar="NAME",
    show_default=False,
    help="Image to start from, with a tag or digest. Default: NVIDIA's of the release.",
)
@kit_option(
    "--flag",
    "flags",
    metavar="--NAME=VALUE",
    multiple=True,
    help="A flag of tritonserver, as --flag=--NAME=VALUE. Repeatable.",
)
@ENGINE
@kit_option(
    "--print",
    "only_print",
    is_flag=True,
    help="Print the Dockerfile, and build nothing.",
)
def command(
    repository: Path,
    *,
    tag: str,
    release: str | None,
    image: str,
    flags: tuple[str, ...],
    engine: str,
    only_print: bool,
) -> None:
    """Build an image that serves REPOSITORY, once the check accepts it.

    The server runs as user 1000. Each container needs the key of the control APIs in
    the variable TRITON_KIT_KEY.
    """
    from triton_kit.launch import repository_check, with_request_limit
    from triton_kit.serving.containers.engine import find_engine
    from triton_kit.serving.containers.image import build_image, dockerfile
    from triton_kit.serving.containers.launcher import (
        ContainerOptions,
        describe_container,
        settle_release,
    )
    from triton_kit.serving.spec import ServeSpec

    spec = ServeSpec(repository=repository, flags=flags)
    options = ContainerOptions(engine=engine, release=release or "", image=image)
    container = describe_container(spec, options)
    spec = with_request_limit(spec, container.release)
    if only_print:
        echo(dockerfile(spec, container.release, container.image).rstrip("\n"))
        return
    found = find_engine(engine)
    container = settle_release(found, container, options)
    repository_check(spec, gpus=0)(container.release)
    text = dockerfile(spec, container.release, container.image)
    build_image(found, text, repository, tag)
    notice(f"built {tag}: Triton {container.release.release} with {repository}")
