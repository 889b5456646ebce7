"""`--executor`: where work runs."""

from __future__ import annotations

from triton_kit.cli.command import kit_option

EXECUTOR = kit_option(
    "--executor",
    default="local",
    metavar="WHERE",
    help="Where the work runs: local, ray (the cluster of this machine or of "
    "$RAY_ADDRESS) or ray://HEAD:10001.",
)
