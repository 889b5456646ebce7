"""What may be tried: fields with their values, and which combinations are legal."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from triton_kit.errors import SpecError

# JSON values; a list is a tuple here, so that settings can be compared.
Value = int | float | str | bool | None | tuple["Value", ...]
Point = tuple[Value, ...]
# Settings by the name of their field.
Settings = Mapping[str, Value]
# Why settings cannot be; empty: they can.
Judge = Callable[[Settings], str]

_TRIES_PER_SAMPLE = 50
# A larger space is not searched through for a legal combination.
_SEARCHED = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceField:
    """One thing that may be set, and the values to try, in order.

    Attributes:
        name: `instances`, `parameters.NAME`, for a step of a pipeline `STEP:instances`.
        values: in an order in which neighbours behave alike.
        default: what the model has now; it need not be among the values.
        is_load: whether it changes the load alone, not the model.
    """

    name: str
    values: tuple[Value, ...]
    default: Value
    is_load: bool = False

    def __post_init__(self) -> None:
        if not self.values:
            raise SpecError(f"field {self.name!r} of the space has no values")
        if len(set(map(repr, self.values))) < len(self.values):
            raise SpecError(f"field {self.name!r} of the space has a value twice")

    @property
    def nearest(self) -> Value:
        """The value that is closest to the default."""
        if self.default in self.values:
            return self.default
        default = _number(self.default)

        def distance(value: Value) -> float:
            number = _number(value)
            if number is None or default is None:
                return math.inf
            return abs(number - default)

        return min(self.values, key=distance)


def _number(value: Value) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """All combinations of the fields' values that are legal.

    Attributes:
        fields: at least one.
        why_illegal: tells why settings cannot be tried.
    """

    fields: tuple[SpaceField, ...]
    why_illegal: Judge = lambda _: ""
    _known: dict[Point, str] = field(default_factory=dict, repr=False, compare=False)
    _refused: list[Settings] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [field.name for field in self.fields]
        if twice := {name for name in names if names.count(name) > 1}:
            raise SpecError(f"the space names {', '.join(sorted(twice))} twice")
        if not names:
            raise SpecError("the space has no field")

    @property
    def default(self) -> Point:
        """What the model has now."""
        return tuple(field.default for field in self.fields)

    @property
    def size(self) -> int:
        """How many combinations there are, legal or not."""
        return math.prod(len(field.values) for field in self.fields)

    def settings(self, point: Point) -> dict[str, Value]:
        """Return the settings of a point by name."""
        names = (field.name for field in self.fields)
        return dict(zip(names, point, strict=True))

    def is_legal(self, point: Point) -> bool:
        """Whether a point can be tried; each is judged once."""
        if point not in self._known:
            self._known[point] = self.why_illegal(self.settings(point))
        return not self._known[point] and not self._is_refused(point)

    def refuse(self, together: Settings) -> None:
        """Take every point with these settings for illegal from now on."""
        self._refused.append(together)

    def _is_refused(self, point: Point) -> bool:
        settings = self.settings(point)
        return any(together.items() <= settings.items() for together in self._refused)

    def points(self) -> Iterator[Point]:
        """Return every legal point, in the order of the fields."""
        values = (field.values for field in self.fields)
        return filter(self.is_legal, itertools.product(*values))

    def require_legal(self) -> None:
        """Raise if there is nothing to try.

        Raises:
            SpecError: no combination but the default is legal.
        """
        every = itertools.product(*(field.values for field in self.fields))
        near = () if (start := self.start()) is None else (start,)
        drawn = self.sample(_SEARCHED // _TRIES_PER_SAMPLE, random.Random(0))
        some = itertools.chain(near, drawn, itertools.islice(every, _SEARCHED))
        if any(point != self.default and self.is_legal(point) for point in some):
            return
        reasons = sorted({reason for reason in self._known.values() if reason})
        why = f": {'; '.join(reasons[:3])}" if reasons else ""
        raise SpecError(
            f"the space has nothing legal in it but the default{why}",
            hint="give more values: --space 'instances=1,2,4'",
        )

    def start(self) -> Point | None:
        """Return the legal point that is closest to the default, in its fields."""
        point = tuple(field.nearest for field in self.fields)
        return point if self.is_legal(point) else None

    def neighbours(self, point: Point) -> list[Point]:
        """Return the legal points that differ by one step in one field."""
        found = []
        for index, field_ in enumerate(self.fields):
            if point[index] not in field_.values:
                continue
            at = field_.values.index(point[index])
            for other in (at - 1, at + 1):
                if 0 <= other < len(field_.values):
                    found.append(self.moved(point, index, other))
        return list(filter(self.is_legal, found))

    def moved(self, point: Point, index: int, value: int) -> Point:
        """Return a point with another value in one field, both by their number."""
        return (
            *point[:index],
            self.fields[index].values[value],
            *point[index + 1 :],
        )

    def goes_on(self, before: Point, now: Point, then: Point) -> bool:
        """Whether two steps change the same fields: a direction that was good."""
        return self._changed(before, now) == self._changed(now, then) != ()

    def _changed(self, one: Point, other: Point) -> tuple[int, ...]:
        return tuple(i for i, value in enumerate(one) if value != other[i])

    def sample(self, count: int, rng: random.Random) -> list[Point]:
        """Draw distinct legal points, in which each field's values are spread evenly.

        Fewer, where there are not as many or they are hard to find.
        """
        found: dict[Point, None] = {}
        decks: list[list[Value]] = [[] for _ in self.fields]
        for _ in range(count * _TRIES_PER_SAMPLE):
            if len(found) == count:
                break
            for deck, field_ in zip(decks, self.fields, strict=True):
                if not deck:
                    deck.extend(rng.sample(field_.values, len(field_.values)))
            point = tuple(deck.pop() for deck in decks)
            if self.is_legal(point):
                found[point] = None
        return list(found)
