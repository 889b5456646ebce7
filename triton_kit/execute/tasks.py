"""Tasks that run in other processes: what one is, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from triton_kit import errors
from triton_kit.errors import TritonKitError
from triton_kit.execute.stages import Report, stages_reported

_log = logging.getLogger(__name__)

# A task whose process dies is repeated so often, in a new process.
MOST_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A call in another process.

    Attributes:
        name: for messages.
        call: `package.module:function`, which takes `argument` and `attempt`.
        argument: any value that pickles.
        needs: resources of a node, by Ray's names; local processes ignore them.
    """

    name: str
    call: str
    argument: Any
    needs: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a task ended: its value, or the error that it raised.

    `index` is that of the task, `where` the node or process that ran it.
    """

    index: int
    where: str
    value: Any = None
    error: TritonKitError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A task starts, which has no stage, or comes to a stage."""

    index: int
    where: str
    stage: str = ""


OnProgress = Callable[[Progress], None]


def no_progress(progress: Progress) -> None:
    """Do nothing: no process sends stages for this one."""


def plan_needs(compute_capability: str | None = None) -> dict[str, float]:
    """Return the resources of a node that can build a TensorRT plan.

    A plan is for one kind of GPU: nodes say theirs as `compute-9.0`.
    """
    needs = {"GPU": 1.0}
    if compute_capability:
        needs[f"compute-{compute_capability}"] = 0.001
    return needs


class Executor(Protocol):
    """Runs tasks in other processes; they end with it."""

    def run(
        self, tasks: Sequence[Task], on_progress: OnProgress = no_progress
    ) -> Iterator[Outcome]:
        """Run tasks, several at once, and yield each outcome as it comes.

        Stages are reported if this process logs information.

        Raises:
            TritonKitError: no process can run a task, or it died again and again.
        """

    def offer(self, contents: Mapping[str, Path]) -> None:
        """Keep files at hand, by digest, for the machines that tasks run on."""

    @property
    def has_our_files(self) -> bool:
        """Whether the tasks see the files of this machine."""


# Opens an executor whose processes import these modules first.
OpenExecutor = Callable[[Sequence[str]], AbstractContextManager[Executor]]

# The class, the message and the hint of an error.
Failure = tuple[str, str, str | None]
# What a task returned, or its error.
Answer = tuple[Any, Failure | None]


def answer(
    call: str, argument: object, attempt: int, report: Report | None = None
) -> Answer:
    """Make the call of a task; an error of the kit becomes a part of the answer.

    Its stages are reported, and an error of that is none of the task.
    """
    module, _, name = call.partition(":")
    function: Callable[[Any, int], Any] = getattr(import_module(module), name)
    try:
        with stages_reported(report):
            return function(argument, attempt), None
    except TritonKitError as error:
        return None, failure_of(error)


def failure_of(error: TritonKitError) -> Failure:
    """Return the class, the message and the hint of an error, to be sent."""
    known = (kind.__name__ for kind in type(error).__mro__)
    kind = next(name for name in known if hasattr(errors, name))
    return kind, error.message, error.hint


def error_of(failure: Failure) -> TritonKitError:
    """Return the error that was sent."""
    kind, message, hint = failure
    error = TritonKitError(message, hint=hint)
    error.__class__ = getattr(errors, kind)
    return error


def outcome(index: int, where: str, answered: Answer) -> Outcome:
    """Make the outcome of a task from its answer."""
    value, failure = answered
    if failure is None:
        return Outcome(index=index, where=where, value=value)
    return Outcome(index=index, where=where, error=error_of(failure))


def next_attempt(task: Task, attempt: int, why: str) -> int:
    """Return the number of the attempt after one whose process died.

    Raises:
        ConvertError: that was the last one.
    """
    if attempt == MOST_TRIES:
        raise errors.ConvertError(
            f"{task.name}: its process died {MOST_TRIES} times: {why}",
            hint="it probably ran out of memory: fewer tasks at once (-j)",
        )
    _log.warning(
        "%s: its process died (%s), trying again (%d of %d)",
        *(task.name, why, attempt + 1, MOST_TRIES),
    )
    return attempt + 1
