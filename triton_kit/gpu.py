"""The GPUs of this machine, as nvidia-smi lists them."""

from __future__ import annotations

import shutil

from triton_kit.process import run_child

# The form of a compute capability, such as `9.0`.
COMPUTE_CAPABILITY = r"^\d{1,2}\.\d$"
_WITHIN_S = 10.0
_UUID = "GPU-"


def compute_capabilities() -> tuple[str, ...]:
    """Return the compute capability of each GPU (`9.0`), in the order of their ids."""
    return _query("compute_cap")


def gpu_uuids() -> tuple[str, ...]:
    """Return the UUID of each GPU, in the order of their ids."""
    return tuple(word for word in _query("uuid") if word.startswith(_UUID))


def _query(field: str) -> tuple[str, ...]:
    if not shutil.which("nvidia-smi"):
        return ()
    words = [f"--query-gpu={field}", "--format=csv,noheader"]
    done = run_child(["nvidia-smi", *words], deadline_s=_WITHIN_S)
    return tuple(done.stdout.split()) if done.exit_code == 0 else ()
