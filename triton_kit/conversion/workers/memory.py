"""What a process has held at most."""

from __future__ import annotations

from pathlib import Path


def peak_memory_bytes() -> int:
    """Return the largest resident size of this process since its program began.

    Not `ru_maxrss`: that begins with the size of the parent (a child of a kit
    that holds 800 MB says 800 MB).
    """
    for line in Path("/proc/self/status").read_text("utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
