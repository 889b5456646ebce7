"""Implicit sequence state: what the scheduler needs to begin with.

The 2.51 server either rejects a model with such a fault or aborts, at random.
"""

from __future__ import annotations

from triton_kit.repository.check.rules.case import Case, Problem, Problems
from triton_kit.repository.check.rules.sequence import data_type_name
from triton_kit.repository.check.rules.sizes import byte_size
from triton_kit.repository.check.rules.textfile import unreadable
from triton_kit.repository.config.places import Step
from triton_kit.triton.schema import Message

_AT = "sequence_batching"
_FOLDER = "initial_state"
_MAY_ABORT = "the 2.51 server may abort on this"


def check_states(case: Case) -> Problems:
    """S15 to S24; like the server, up to the first fault."""
    if not case.config.HasField(_AT):
        return
    seen: set[str] = set()
    for number, state in enumerate(case.config.sequence_batching.state):
        problem = _state(case, (_AT, "state", number), state, seen)
        if problem is not None:
            yield problem
            return


def _state(
    case: Case, at: tuple[Step, ...], state: Message, seen: set[str]
) -> Problem | None:
    if len(state.initial_state) > 1:
        return _problem(
            "S15",
            f"initial_state field for state input '{state.input_name}' must contain "
            "exactly one or zero element. "
            f"Found '{len(state.initial_state)}' elements.",
            (*at, "initial_state", 1),
            "keep one initial_state",
        )
    if not state.initial_state:
        return None
    initial, at = state.initial_state[0], (*at, "initial_state", 0)
    problem = _declared(state, initial, at, seen) or _dims(state, initial, at)
    seen.add(state.input_name)
    return problem or _data(case, state, initial, at)


def _declared(
    state: Message, initial: Message, at: tuple[Step, ...], seen: set[str]
) -> Problem | None:
    if initial.data_type != state.data_type:
        return _problem(
            "S16",
            "The data type used for 'initial_state' field of state "
            f"'{state.input_name}' does not match the state data type.",
            (*at, "data_type"),
            f"the state is {data_type_name(state.data_type) or 'of unknown type'}",
        )
    if not initial.name:
        return _problem(
            "S17",
            "Field 'name' must be set when using initial_state for state input "
            f"'{state.input_name}'.",
            at,
            'add name: "..." to initial_state',
        )
    if state.input_name in seen:
        text = f"State input name '{state.input_name}' specified more than once."
        return _problem("S23", text, at, "each state needs an input_name of its own")
    return None


def _dims(state: Message, initial: Message, at: tuple[Step, ...]) -> Problem | None:
    name = state.input_name
    if len(initial.dims) != len(state.dims):
        return _problem(
            "S18",
            "Number of dimensions in 'initial_state' doesn't match the size of 'state' "
            f"dimensions for state input '{name}'. {len(initial.dims)} != "
            f"{len(state.dims)}",
            (*at, "dims"),
            f"the state has dims {list(state.dims)}",
        )
    for number, (given, meant) in enumerate(zip(initial.dims, state.dims, strict=True)):
        at_dim = (*at, "dims", number)
        if given == -1:
            return _problem(
                "S19",
                f"'initial_state' field for state input name '{name}' contains "
                "variable dimensions.",
                at_dim,
                "write the size that the first request shall see",
            )
        if meant not in (-1, given):
            return _problem(
                "S20",
                f"'initial_state' dim for input name '{name}' doesn't match 'state' "
                f"dim description. {given} != {meant}",
                at_dim,
                f"the state has dims {list(state.dims)}",
            )
    return None


def _data(
    case: Case, state: Message, initial: Message, at: tuple[Step, ...]
) -> Problem | None:
    choice = initial.WhichOneof("state_data")
    if choice is None:
        return _problem(
            "S21",
            f"initial_state setting expects state'{state.input_name}' to have "
            "state_data set",
            at,
            "add zero_data: true, or data_file",
        )
    if choice == "zero_data":
        return None
    path = case.folder.path / _FOLDER / initial.data_file
    failure = unreadable(path)
    if failure:
        return _problem("S22", failure, (*at, "data_file"), f"put it into {_FOLDER}/")
    need = byte_size(initial.data_type, initial.dims)
    have = path.stat().st_size
    if data_type_name(initial.data_type) != "TYPE_STRING" and have < need:
        return _problem(
            "S24",
            f"initial_state setting expects {need} bytes, but the data provided from "
            f"{initial.data_file}only has {have} bytes.",
            (*at, "data_file"),
            "write all values of the state, in row-major order",
        )
    return None


def _problem(rule: str, text: str, at: tuple[Step, ...], hint: str) -> Problem:
    return Problem(rule, text, at=at, hint=f"{hint} ({_MAY_ABORT})")
