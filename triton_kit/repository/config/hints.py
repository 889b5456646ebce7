"""What to do about a config.pbtxt that cannot be read."""

from __future__ import annotations

import re

from triton_kit.errors import nearest
from triton_kit.triton.schema import DESCRIPTOR, FieldType

_LEFT_OVERS = (
    (re.compile(r"\$\{[^}\n]*\}?"), "a shell or template variable"),
    (re.compile(r"\{\{.*?\}\}|\{%.*?%\}"), "a Jinja expression"),
    (re.compile(r"<[A-Z][A-Z0-9_]*>"), "a placeholder"),
    (re.compile(r"\$[A-Za-z_]\w*"), "a shell variable"),
)
# A word in capitals where a number belongs: MAX_BATCH, BATCH_SIZE.
_CAPITALS = re.compile(r"got: ([A-Z][A-Z0-9_]+)$")
_QUOTED = re.compile(r'"([^"]*)"')


def hint_for(
    rule: str, message: str, *, line: str, message_type: FieldType
) -> str | None:
    """Return what the reader can do about a fault in `line`, if that is known.

    Args:
        rule: the id of the rule that was broken.
        message: the parser's own words.
        line: the line of the file.
        message_type: the descriptor of the message that was being read.
    """
    left_over = _left_over(message, line)
    if left_over:
        return left_over
    if rule == "P1":
        return _unknown_field(_last_quoted(message), message_type)
    if rule == "P2":
        return _unknown_enum(message, message_type)
    if rule == "P6" and "codepoint 239" in message:
        return "the file begins with a byte order mark: save it as UTF-8 without one"
    return _BY_RULE.get(rule) or _by_message(message)


_BY_RULE = {
    "P4": "keep one of the two",
    "P5": "a model has one of them: keep one",
    "P8": "save the file as UTF-8",
}
_BY_MESSAGE = (
    ('found "{"', "only a message takes `{`: write `name: value`"),
    ('Expected ":"', "write `name: value`"),
    ('Expected "{"', "the value is a message: write `name { ... }`"),
    ('Expected "}"', "a bracket before this line is not closed"),
    ('Expected "]"', "a bracket before this line is not closed"),
    ('Expected ","', "separate the items of a list with commas"),
    ("got: ]", "there is a comma too many before `]`"),
    ("Expected string", 'write the value in quotes: "..."'),
    ("Expected integer, got: [", "this field takes one number, not a list"),
    ('Expected integer, got: "', "write the number without quotes"),
    ("out of range", "the number does not fit the field's type"),
    ("Invalid value for boolean", "write true or false"),
    ("cross line boundaries", "close the quote before the end of the line"),
    ("Unexpected end of string", "a quote is not closed"),
    ("Invalid control characters", "this is no text file, or it is damaged"),
    (
        "non ascii",
        "use plain ASCII outside of quotes (quotes themselves must be \" or ')",
    ),
    ("Expected identifier, got: }", "there is a `}` too many"),
    ("Expected identifier, got: \x00", "this is no text file, or it is damaged"),
)


def _by_message(message: str) -> str | None:
    return next((hint for part, hint in _BY_MESSAGE if part in message), None)


def _left_over(message: str, line: str) -> str | None:
    for pattern, kind in _LEFT_OVERS:
        found = pattern.search(line)
        if found:
            return (
                f"{found[0]} is {kind} that was not filled in: render the file before "
                "it is published"
            )
    capitals = _CAPITALS.search(message)
    if capitals and "integer" in message:
        return (
            f"{capitals[1]} is a placeholder that was not filled in: write the number"
        )
    return None


def _last_quoted(message: str) -> str:
    found = _QUOTED.findall(message)
    return found[-1] if found else ""


def _unknown_field(name: str, message_type: FieldType) -> str:
    known = [field.name for field in message_type.fields]
    match = nearest(name, known)
    if match:
        return f"did you mean {match!r}?"
    homes = _homes(name)
    if homes:
        return f"{name!r} belongs in {' or '.join(homes)}"
    return f"{message_type.name} has: {', '.join(sorted(known))}"


def _homes(name: str) -> list[str]:
    """Return the fields of ModelConfig whose message has a field of this name."""
    homes = [
        f"`{field.name}`"
        for field in DESCRIPTOR.fields
        if field.message_type is not None and name in field.message_type.fields_by_name
    ]
    return homes[:3]


def _unknown_enum(message: str, message_type: FieldType) -> str | None:
    value, name = _QUOTED.findall(message)[:2]
    field = message_type.fields_by_name.get(name)
    if field is None or field.enum_type is None:
        return None
    known = [item.name for item in field.enum_type.values]
    match = nearest(value.upper(), known) or _with_prefix(value, known)
    return f"did you mean {match}?" if match else f"known: {', '.join(known)}"


def _with_prefix(value: str, known: list[str]) -> str | None:
    """Find `TYPE_FP32` for `fp32` or `float32`."""
    spoken = {"FLOAT32": "FP32", "FLOAT16": "FP16", "FLOAT": "FP32", "BYTES": "STRING"}
    upper = spoken.get(value.upper(), value.upper())
    return next((name for name in known if name.endswith(f"_{upper}")), None)
