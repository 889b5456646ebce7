"""Something that other processes hold open between calls, such as a server each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from triton_kit.errors import TritonKitError
from triton_kit.execute.cores import Cores
from triton_kit.execute.shipment import Shipment


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a process holds.

    Attributes:
        call: `package.module:function`, a context manager that takes `argument`, and
            yields a greeting and a function of one argument for the calls.
        argument: any value that pickles.
        files: paths in it, which a machine elsewhere needs.
        folders: further ones, of folders from which only some files are needed: those,
            by their names below the folder.
        moved: returns the argument with the paths of its files in a folder there.
    """

    call: str
    argument: Any
    files: tuple[str, ...] = ()
    folders: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    moved: Callable[[Shipment, str], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a call ended: its value, its error, or why its process died."""

    slot: int
    value: Any = None
    error: TritonKitError | None = None
    died: str = ""


class Slots(Protocol):
    """Processes that hold the same, each on cores of its own, numbered from 0.

    One that died is started again, by the next call of its slot. All end with the
    context that made them, or with this process.
    """

    @property
    def greetings(self) -> Sequence[Any]:
        """What each process said first."""

    def cores(self, slot: int) -> Cores:
        """Return the cores of a process."""

    def node(self, slot: int) -> str:
        """Return the name of its machine; empty for this one."""

    def begin(self, slot: int, argument: Any) -> bool:  # noqa: ANN401
        """Make a call in a process that makes none.

        Returns:
            Whether it could be: one that died may find no place to start again, or not
            yet. It waits for that only while no other call runs.

        Raises:
            TritonKitError: it was started again, and cannot hold it now.
        """

    def wait(self) -> Sequence[Ended]:
        """Wait until a call ends, or a process has started again; return the ends."""

    def is_up(self, slot: int) -> bool:
        """Return whether there is a process, as far as that is known."""

    def keep(self, slot: int) -> None:
        """End all other processes, for good."""
