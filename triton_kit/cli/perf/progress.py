"""Progress of a measurement: a bar on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from triton_kit.cli.output import console

if TYPE_CHECKING:
    from triton_kit.loadtest.run.measure import Progress


@contextmanager
def showing_progress() -> Iterator[Callable[[Progress], None] | None]:
    """Yield what shows progress: a bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    screen = console(stderr=True)
    if not screen.is_terminal:
        yield None
        return
    looks = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Bar(*looks, console=screen, transient=True) as bar:
        task = bar.add_task("warming up", total=1.0)

        def show(progress: Progress) -> None:
            number = f"{progress.index + 1}"
            if progress.loads is not None:
                number += f" of {progress.loads}"
            text = f"{progress.load} ({number})"
            bar.update(task, description=text, completed=progress.done)

        yield show
