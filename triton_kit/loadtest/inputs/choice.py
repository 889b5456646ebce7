"""Which data each input gets: the words of `--input-data`, with the model at hand.

A word is for all inputs (`random`, `zero`, a path) or for one (`NAME:random`,
`NAME:random:LOW:HIGH`, `NAME:zero`, `NAME:FILE`, `NAME:VALUE`, `NAME:value:TEXT`).
A path that exists as it is written is for all, colons or not; else the longest name of
an input that a word begins with is meant, as names may have colons too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from triton_kit.errors import SpecError, did_you_mean
from triton_kit.loadtest.inputs import draws
from triton_kit.loadtest.inputs.data import Array, Draw
from triton_kit.loadtest.inputs.draws import StringData
from triton_kit.loadtest.inputs.files import read_column, read_steps
from triton_kit.loadtest.inputs.steps import InputStep, needed
from triton_kit.tensors import Shape, Tensor
from triton_kit.triton.model import ModelInfo

RANDOM, ZERO, VALUE = "random", "zero", "value"
_JSON = ".json"
# A word with such an ending is a file, and not a text.
_FILE_SUFFIXES = {
    *(".npy", ".npz", _JSON, ".bin", ".raw", ".txt"),
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".wav", ".mp3", ".flac", ".ogg", ".mp4"),
}


@dataclass(slots=True, kw_only=True)
class Choice:
    """Where the values of each input come from.

    Attributes:
        paths: of the inputs that are in neither of the others; several are JSON files.
        files: input -> a file of its own.
        draws: input -> how its values are made.
        varies: whether any of the draws is random.
    """

    paths: list[Path] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)
    draws: dict[str, Draw] = field(default_factory=dict)
    varies: bool = False


def choose(words: Sequence[str], model: ModelInfo, strings: StringData) -> Choice:
    """Decide where each input's values come from; `random` by default.

    Raises:
        SpecError: two words are for the same, or one is for nothing that there is.
    """
    choice, named = Choice(), set[str]()
    common: list[str] = []
    for word in words:
        found = _input_of(word, model)
        if found is not None:
            tensor, source = found
            if tensor.name in named:
                raise SpecError(f"--input-data says twice what {tensor.name!r} gets")
            named.add(tensor.name)
            _choose_one(choice, tensor, source, strings)
        else:
            common.append(word)
    if len(common) > 1 and not all(word.endswith(_JSON) for word in common):
        raise SpecError(
            f"--input-data {' and '.join(common)}: each is for all inputs",
            hint="for one of them: --input-data NAME:...; "
            f"only {_JSON} files are read one after another",
        )
    kind = common[0] if common else RANDOM
    if kind not in (RANDOM, ZERO):
        choice.paths = [Path(word) for word in common]
        return choice
    for tensor in needed(model):
        if tensor.name not in named:
            _choose_one(choice, tensor, kind, strings)
    return choice


def _input_of(word: str, model: ModelInfo) -> tuple[Tensor, str] | None:
    """Return the one input that an option is for, and its source; None for all."""
    if word in (RANDOM, ZERO) or _exists(word):
        return None
    known = {tensor.name: tensor for tensor in model.inputs}
    names = [name for name in known if word.startswith(f"{name}:")]
    if names:
        name = max(names, key=len)
        return known[name], word[len(name) + 1 :]
    name, colon, _ = word.partition(":")
    if colon:
        raise SpecError(
            f"--input-data {word}: {model.name!r} has no input {name!r}, "
            "and there is no such file",
            hint=did_you_mean(name, known),
        )
    raise SpecError(
        f"input data {word!r}: no such file or folder",
        hint="random, zero, a folder, an .npz, .npy or JSON file, or NAME:...",
    )


def _choose_one(
    choice: Choice, tensor: Tensor, source: str, strings: StringData
) -> None:
    name = tensor.name
    kind, _, rest = source.partition(":")
    where = f"--input-data {name}:{source}"
    if source == RANDOM:
        choice.draws[name], choice.varies = draws.at_random(tensor, strings), True
    elif kind == RANDOM:
        low, colon, high = rest.partition(":")
        if not colon:
            raise SpecError(f"{where}: not of the form {name}:random:LOW:HIGH")
        choice.draws[name], choice.varies = draws.within(tensor, low, high), True
    elif source == ZERO:
        choice.draws[name] = draws.zero(tensor)
    elif source.startswith(f"{VALUE}:"):
        choice.draws[name] = draws.value(tensor, rest, where)
    elif _exists(source):
        choice.files[name] = Path(source)
    elif not source or _looks_like_a_file(source):
        raise SpecError(
            f"{where}: no such file",
            hint=f"random, zero, a file or a value; a text as {name}:value:TEXT",
        )
    else:
        choice.draws[name] = draws.value(tensor, source, where)


def _looks_like_a_file(text: str) -> bool:
    return (
        not any(map(str.isspace, text)) and Path(text).suffix.lower() in _FILE_SUFFIXES
    )


def _exists(text: str) -> bool:
    """Whether a file has this name; a long text is none."""
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):
        return False


def steps_from_files(
    choice: Choice, model: ModelInfo, shapes: Mapping[str, Shape]
) -> list[InputStep]:
    """Read every file; where one has fewer steps than another, it begins again.

    Raises:
        SpecError: one cannot be read, or does not fit the model.
    """
    apart = {*choice.files, *choice.draws}
    steps = [InputStep(inputs={})]
    if choice.paths:
        model = replace(model, optional_inputs=model.optional_inputs | apart)
        steps = _one_after_another(
            [read_steps(path, model, shapes) for path in choice.paths]
        )
    known = {tensor.name: tensor for tensor in model.inputs}
    columns: dict[str, list[Array]] = {
        name: read_column(path, known[name], shapes)
        for name, path in choice.files.items()
    }
    count = max(len(steps), *(len(column) for column in columns.values()), 0)
    return [
        InputStep(
            inputs={
                **steps[row % len(steps)].inputs,
                **{name: rows[row % len(rows)] for name, rows in columns.items()},
            },
            expected=steps[row % len(steps)].expected,
            stream=steps[row % len(steps)].stream,
        )
        for row in range(count)
    ]


def _one_after_another(files: list[list[InputStep]]) -> list[InputStep]:
    """Join the steps of several files; the streams of one come after another's."""
    joined: list[InputStep] = []
    streams = 0
    for steps in files:
        joined += [
            step if step.stream is None else replace(step, stream=streams + step.stream)
            for step in steps
        ]
        streams += 1 + max(step.stream or 0 for step in steps)
    return joined
