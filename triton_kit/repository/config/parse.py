"""Read config.pbtxt as the server does: same verdict, same words, and every place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from triton_kit.errors import RepositoryError
from triton_kit.repository.config.hints import Around, hint_for
from triton_kit.repository.config.places import Node, Place, Places
from triton_kit.repository.config.reader import FaultError, Reader
from triton_kit.repository.config.tokens import Tokens, errors_until, tokenize
from triton_kit.triton.schema import Message, ModelConfig


class ConfigSyntaxError(RepositoryError):
    """A text that is no ModelConfig.

    Attributes:
        place: where in the file.
        rule: the id of the rule, P1 to P9 (docs/validation.md lists them).
        reason: the fault alone, without the path in front.
        server_text: the line that the server's parser would log.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path,
        place: Place,
        rule: str,
        hint: str | None,
        server_text: str,
    ) -> None:
        super().__init__(f"{path}:{place.line}:{place.column}: {message}", hint=hint)
        self.reason = message
        self.place = place
        self.rule = rule
        self.server_text = server_text


@dataclass(frozen=True, slots=True)
class ParsedConfig:
    """A `ModelConfig` message and the place of each of its fields.

    `not_utf8` has the strings whose bytes are no UTF-8: they are replaced here.
    """

    config: Message
    path: Path
    places: Places
    not_utf8: tuple[Place, ...] = field(default=())

    def place(self, *field_path: str | int) -> Place:
        """Where a field stands: `place("input", 0, "dims", 1)`.

        A field that the file does not have is at the nearest message around it.
        """
        return self.places.of(field_path)


def parse(
    text: str | bytes,
    *,
    path: Path = Path("config.pbtxt"),
    absent: frozenset[tuple[str, str]] = frozenset(),
) -> ParsedConfig:
    """Read the text of a config.pbtxt.

    Args:
        text: the file's content; bytes, if they may be no UTF-8.
        path: the file's name for messages; nothing is read from it.
        absent: fields, as message type and name, that the server does not have yet.

    Raises:
        ConfigSyntaxError: the server would not be able to read the text.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    source = data.decode("latin-1")
    tokens = tokenize(source)
    reader = Reader(tokens, absent)
    config = ModelConfig()
    root = Node(0)
    places = Places(root, source)
    try:
        reader.read(config, root)
    except FaultError as fault:
        raise _explained(fault, reader, places, path) from None
    not_utf8 = tuple(Place(*places.lines.place(at)) for at in reader.not_utf8)
    return ParsedConfig(config, path, places, not_utf8)


def _explained(
    fault: FaultError, reader: Reader, places: Places, path: Path
) -> ConfigSyntaxError:
    """Turn a fault into an error: what comes first in the file is what is at fault."""
    offsets = reader.tokens.offsets
    earlier = next(errors_until(reader.tokens, reader.at), None)
    if earlier is not None:
        offset, message, rule = earlier.offset, earlier.message, "P6"
        own_offset = offset
    else:
        offset, message, rule = offsets[reader.at], fault.message, fault.rule
        own_offset = offset if fault.token is None else offsets[fault.token]
    row, column = places.lines.server_place(offset)
    spoken = message.encode("latin-1", "replace").decode(errors="replace")
    place = Place(*places.lines.place(own_offset))
    return ConfigSyntaxError(
        spoken,
        path=path,
        place=place,
        rule=rule,
        hint=hint_for(
            rule,
            spoken,
            line=places.lines.line(place.line),
            message_type=reader.message_type,
            around=_around(reader.tokens, reader.at),
        ),
        server_text=(
            f"Error parsing text-format inference.ModelConfig: {row}:{column}: {spoken}"
        ),
    )


def _around(tokens: Tokens, at: int) -> Around:
    before = tokens.texts[at - 1] if at else ""
    start = tokens.offsets[at - 1] + len(before) if at else 0
    return Around(
        before=before,
        found=tokens.texts[at],
        skipped=tokens.source[start : tokens.offsets[at]],
        beginning=tokens.source[:8],
    )
