"""Numbers as people read them: three digits and a unit."""

from __future__ import annotations

_TIMES = ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns"))


def duration(ns: float) -> str:
    """Return a time, such as `13.4 s`, `2.56 ms` or `850 us`."""
    for size, unit in _TIMES:
        if ns >= 0.9995 * size:
            return f"{_three_digits(ns / size)} {unit}"
    return "0"


def rate(per_s: float) -> str:
    """Return a number per second, such as `1,234` or `48.3`."""
    return _three_digits(per_s) if per_s < 999.5 else f"{per_s:,.0f}"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
