"""`triton-kit releases`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import cloup

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import json_option
from triton_kit.cli.output import echo, echo_json

if TYPE_CHECKING:
    from triton_kit.triton.releases import Release

_HEAD = (
    *("release", "Triton", "TensorRT", "ONNX Runtime"),
    *("CUDA", "driver", "open CVEs"),
)


@kit_command(examples=("triton-kit releases", "triton-kit releases 24.10"))
@cloup.argument(
    "release", required=False, help="One release, by container tag or Triton version."
)
@json_option()
def command(release: str | None, *, as_json: bool) -> None:
    """Show what Triton's monthly releases contain, and their open vulnerabilities.

    The CVEs are those of NVIDIA's bulletins that a later release fixes.
    """
    from triton_kit.triton.releases import all_releases, known_release

    chosen = all_releases() if release is None else (known_release(release),)
    if as_json:
        echo_json([_document(one) for one in chosen])
    elif release is None:
        _print_table(chosen)
    else:
        _print_one(chosen[0])


def _document(release: Release) -> dict[str, object]:
    from triton_kit.triton.releases import open_cves

    return asdict(release) | {
        "image": release.image,
        "open_cves": open_cves(release),
    }


def _tensorrt(release: Release) -> str:
    if release.tensorrt is None:
        return "unknown"
    mark = "" if release.tensorrt_evidence == "documented" else "*"
    return f"{release.tensorrt}{mark}"


def _gpu(release: Release) -> str:
    least = release.compute_capability
    return f"compute capability {least} or later" if least else "unknown"


def _print_table(releases: tuple[Release, ...]) -> None:
    from triton_kit.triton.releases import open_cves

    rows = [
        (
            *(r.release, r.server, _tensorrt(r), r.onnxruntime),
            *(r.cuda or "unknown", str(r.driver or "unknown"), str(len(open_cves(r)))),
        )
        for r in releases
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)]
    for row in (_HEAD, *rows):
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        echo("  ".join(cells).rstrip())
    echo("* reported by others, not documented by NVIDIA")


def _print_one(release: Release) -> None:
    from triton_kit.triton.releases import open_cves

    cves = open_cves(release)
    for name, value in (
        ("release", release.release),
        ("image", release.image),
        ("Triton", release.server),
        ("TensorRT", f"{release.tensorrt or 'unknown'} ({release.tensorrt_evidence})"),
        ("ONNX Runtime", release.onnxruntime),
        ("CUDA", release.cuda or "unknown"),
        ("driver", f"{release.driver} or later" if release.driver else "unknown"),
        ("GPU", _gpu(release)),
        ("fixes", ", ".join(release.fixes) or "no published CVE"),
        ("open CVEs", f"{len(cves)}: {', '.join(cves)}" if cves else "none published"),
    ):
        echo(f"{name:14}{value}")
