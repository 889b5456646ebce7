"""The folder that one embedded server runs in, and a note of its shared memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from triton_kit.scratch import scratch_folder
from triton_kit.serving.memory import remove_regions

_MEMORY_NOTE = "shared-memory"


def workspace() -> AbstractContextManager[Path]:
    """Return a new folder; what servers of killed kits left is removed, memory too."""
    return scratch_folder("server", before_sweep=_free_memory)


def note_memory(folder: Path, prefix: str) -> None:
    """Note which shared memory belongs to the server in a workspace."""
    with (folder / _MEMORY_NOTE).open("a", encoding="utf-8") as file:
        file.write(f"{prefix}\n")


def _free_memory(folder: Path) -> None:
    note = folder / _MEMORY_NOTE
    for prefix in note.read_text("utf-8").split() if note.is_file() else []:
        remove_regions(prefix)
