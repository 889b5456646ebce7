"""The GPUs of this machine, as nvidia-smi lists them."""

from __future__ import annotations

import shutil

from triton_kit.process import run_child

_WITHIN_S = 10.0
_QUERY = ("--query-gpu=compute_cap", "--format=csv,noheader")


def compute_capabilities() -> tuple[str, ...]:
    """Return the compute capability of each GPU (`9.0`), in the order of their ids."""
    if not shutil.which("nvidia-smi"):
        return ()
    done = run_child(["nvidia-smi", *_QUERY], deadline_s=_WITHIN_S)
    return tuple(done.stdout.split()) if done.exit_code == 0 else ()
