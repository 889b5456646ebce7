"""What to do about a config.pbtxt that cannot be read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from triton_kit.errors import nearest
from triton_kit.triton.schema import DATA_TYPES, DESCRIPTOR, FieldType

_LEFT_OVERS = (
    (re.compile(r"\$\{[^}\n]*\}?"), "a shell or template variable"),
    (re.compile(r"\{\{.*?\}\}|\{%.*?%\}"), "a Jinja expression"),
    (re.compile(r"<[A-Z][A-Z0-9_]*>"), "a placeholder"),
    (re.compile(r"\$[A-Za-z_]\w*"), "a shell variable"),
)
# A word in capitals where a number belongs: MAX_BATCH, BATCH_SIZE.
_CAPITALS = re.compile(r"got: ([A-Z][A-Z0-9_]+)$")
_QUOTES = "\"'"
_DECIMAL = re.compile(r"\d+\.\d*")
_QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The text around a fault.

    Attributes:
        before: the token before the one at fault.
        found: the token at fault; empty at the end of the file.
        skipped: white space and comments between the two.
        beginning: the first characters of the file, one per byte.
    """

    before: str = ""
    found: str = ""
    skipped: str = ""
    beginning: str = ""


def hint_for(
    rule: str, message: str, *, line: str, message_type: FieldType, around: Around
) -> str | None:
    """Return what the reader can do about a fault in `line`, if that is known.

    Args:
        rule: the id of the rule that was broken.
        message: the parser's own words.
        line: the line of the file.
        message_type: the descriptor of the message that was being read.
        around: the text around the fault.
    """
    other_format = _other_format(around)
    if other_format:
        return other_format
    if rule in ("P3", "P7") and (slip := _slip(message, around)):
        return slip
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
}
_BY_MESSAGE = (
    ('Expected ":"', "write `name: value`"),
    ('Expected "{"', "the value is a message: write `name { ... }`"),
    ('Expected "}"', "a bracket before this line is not closed"),
    ('Expected "]"', "a bracket before this line is not closed"),
    ('Expected ","', "separate the items of a list with commas"),
    ('found "{"', "only a message takes `{`: write `name: value`"),
    ("Expected string", 'write the value in quotes: "..."'),
    ("Expected integer, got: [", "this field takes one number, not a list"),
    ('Expected integer, got: "', "write the number without quotes"),
    ("space between number and identifier", "write the number alone, without a unit"),
    ("out of range", "the number does not fit the field's type"),
    ("Invalid value for boolean", "write true or false"),
    ("cross line boundaries", "close the quote before the end of the line"),
    ("Unexpected end of string", "a quote is not closed"),
    ("Invalid control characters", "this is no text file, or it is damaged"),
    (
        "non ascii",
        "use plain ASCII outside of quotes (quotes themselves must be \" or ')",
    ),
    ("Expected identifier, got: ;", "there is a `;` too many"),
    ("Expected identifier, got: ,", "there is a comma too many"),
    ("Expected identifier, got: }", "there is a `}` too many"),
    ("Expected identifier, got: \x00", "this is no text file, or it is damaged"),
)


def _other_format(around: Around) -> str | None:
    """Return a hint where the file is no text in protobuf's format at all."""
    beginning = around.beginning
    if beginning[:2] in ("\xff\xfe", "\xfe\xff") or "\0" in beginning[:4]:
        return "the file is UTF-16: save it as UTF-8"
    if beginning.lstrip()[:1] == "{":
        return (
            "the file is JSON: config.pbtxt is protobuf's text format, `name: value` "
            "without outer braces and without quotes around names"
        )
    return None


def _slip(message: str, around: Around) -> str | None:
    """Return a hint for the commonest slips with punctuation."""
    before, found = around.before, around.found
    comment = around.skipped.partition("#")[2].partition("\n")[0].strip()
    if comment and before in ("[", ",", ":"):
        return (
            f"`#` begins a comment, so `#{comment}` is no value: fill it in, or move "
            "the comment"
        )
    if before == "," and found in ("]", "}", ">"):
        return f"there is a comma too many before `{found}`"
    if found == "/":
        return "comments begin with `#`, not with `//` or `/*`"
    if not found or found == "]":
        missing = "`]`" if 'Expected ","' in message else "`}`"
        return f"a bracket before this is not closed: add {missing}"
    if 'Expected ","' in message and (found == "}" or found.isidentifier()):
        return "the list before this is not closed: add `]`, or a comma"
    return _wrong_kind(message, found)


def _wrong_kind(message: str, found: str) -> str | None:
    """Return a hint for a value, or a name, in the wrong form."""
    if 'Expected identifier, got: "' in message:
        return f"names have no quotes: write {found.strip(_QUOTES)}: ..."
    if "integer or identifier" in message and found[:1] in _QUOTES:
        value = found.strip(_QUOTES)
        is_type = f"TYPE_{value}" in DATA_TYPES.DESCRIPTOR.values_by_name
        return f"write {'TYPE_' * is_type}{value} without quotes"
    if "Expected integer, got: " in message and _DECIMAL.fullmatch(found):
        return f"write a whole number: {found.partition('.')[0]}"
    if "Expected integer, got: " in message:
        if found == "-":
            return "the field takes no negative number"
        if found.islower():
            return "write a whole number"
    return None


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
    if message_type is not DESCRIPTOR and name in DESCRIPTOR.fields_by_name:
        return f"{name!r} is a field of the model itself: is a `}}` missing before it?"
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
