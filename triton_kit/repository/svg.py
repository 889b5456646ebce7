"""Pictures of pipelines as SVG, and the SVG as PNG."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape

from triton_kit.errors import MissingExtraError, SpecError
from triton_kit.repository.drawing import Picture, as_text
from triton_kit.repository.layout import (
    LINE,
    MARGIN,
    Box,
    Curve,
    Layout,
    place,
    text_width,
)

_FONT = (
    "ui-monospace, 'DejaVu Sans Mono', 'Liberation Mono', 'Noto Sans Mono', "
    "'Cascadia Mono', Menlo, Consolas, 'Courier New', monospace"
)
_INK, _MUTED, _PAPER, _BAD = "#1b1f24", "#59636e", "#ffffff", "#b42318"
# Light colours are attributes, which any program reads; browsers turn them for dark.
_DARK = """<style>@media (prefers-color-scheme: dark) {
.pipeline .paper { fill: #0f1419 } .pipeline text { fill: #e6e9ec }
.pipeline .step rect { fill: #16283f; stroke: #6ea8fe }
.pipeline .end rect, .pipeline .call rect { fill: #1d242c; stroke: #8b98a5 }
.pipeline .edge path { stroke: #8b98a5 } .pipeline .arrow { fill: #8b98a5 }
.pipeline .label { fill: #b6c0ca; stroke: #0f1419 } .pipeline .loose { fill: #ff8d80 }
}</style>"""
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")
_TITLE_ROOM = 30.0
# Inside of a page, a picture's model may be a link.
Linked = Callable[[str], str | None]


def as_svg(drawn: Sequence[Picture]) -> str:
    """Write the pictures below each other as one SVG that needs no other file."""
    return inline_svg(drawn, style=_DARK)


def inline_svg(
    drawn: Sequence[Picture], *, style: str = "", link: Linked | None = None
) -> str:
    """Write one SVG element for a page, whose stylesheet may colour its classes.

    Args:
        drawn: the pictures, one below the other.
        style: a `<style>` element for inside of it.
        link: returns the address that a model's box leads to, if it leads anywhere.
    """
    layouts = [place(one) for one in drawn]
    width = max((_outer_width(one) for one in layouts), default=2 * MARGIN)
    body, y = [], 0.0
    for layout in layouts:
        body.append(f'<g transform="translate(0 {y:.1f})">')
        body += _picture(layout, link or (lambda _: None))
        body.append("</g>")
        y += _outer_height(layout)
    height = max(y, 2 * MARGIN)
    names = ", ".join(one.name for one in drawn) or "nothing to draw"
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" class="pipeline" '
            f'width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" '
            f'role="{"group" if link else "img"}" font-family="{escape(_FONT)}" '
            'font-size="13">',
            f"<title>Pipeline: {_text(names)}</title>",
            f"<desc>{_text(as_text(drawn))}</desc>",
            *([style] if style else []),
            f'<rect class="paper" width="100%" height="100%" fill="{_PAPER}"/>',
            *body,
            "</svg>",
        ]
    )


def _outer_width(layout: Layout) -> float:
    lines = [f"not written: {name}" for name in layout.picture.loose]
    titles = [text_width(text) + 2 * MARGIN for text in [layout.picture.name, *lines]]
    return max(layout.width, *titles)


def _outer_height(layout: Layout) -> float:
    labels = [curve.y + len(curve.label) * LINE for curve in layout.curves]
    inner = max([layout.height, *labels])
    return _TITLE_ROOM + inner + len(layout.picture.loose) * LINE


def _picture(layout: Layout, link: Linked) -> Iterator[str]:
    yield (
        f'<text class="name" x="{MARGIN}" y="24" font-weight="bold" fill="{_INK}">'
        f"{_text(layout.picture.name)}</text>"
    )
    yield f'<g transform="translate(0 {_TITLE_ROOM})">'
    for curve in layout.curves:
        yield from _edge(curve)
    for curve in layout.curves:
        yield from _label(curve)
    for box in layout.boxes:
        if box.kind != "bend":
            yield from _node(box, layout.picture, link)
    yield "</g>"
    last = _outer_height(layout) - len(layout.picture.loose) * LINE
    for number, name in enumerate(layout.picture.loose):
        yield (
            f'<text class="loose" x="{MARGIN}" y="{last + number * LINE:.1f}" '
            f'fill="{_BAD}">not written: {_text(name)}</text>'
        )


def _edge(curve: Curve) -> Iterator[str]:
    """Draw a curve from box to box, and the head of its arrow."""
    source, target = curve.boxes[0], curve.boxes[-1]
    x, y = source.x + source.width, source.middle
    path = [f"M{x:.1f} {y:.1f}"]
    for box in curve.boxes[1:]:
        end = box.x - (8.0 if box is target else 0.0)
        # Backwards, in a circle of steps: out to the right, and in from the left.
        bow = max(abs(end - x) / 2, 24.0)
        path.append(
            f"C{x + bow:.1f} {y:.1f} {end - bow:.1f} {box.middle:.1f} "
            f"{end:.1f} {box.middle:.1f}"
        )
        x, y = end, box.middle
    dashes = ' stroke-dasharray="5 4"' if curve.is_call else ""
    yield (
        f'<g class="edge"><path d="{" ".join(path)}" fill="none" stroke="{_MUTED}" '
        f'stroke-width="1.4"{dashes}/>'
        f'<path class="arrow" d="M{x:.1f} {y - 4:.1f}l8 4l-8 4z" fill="{_MUTED}" '
        'stroke="none"/></g>'
    )


def _label(curve: Curve) -> Iterator[str]:
    first = curve.y - (len(curve.label) - 1) * LINE / 2 + 4
    for number, line in enumerate(curve.label):
        yield (
            f'<text class="label" x="{curve.x:.1f}" y="{first + number * LINE:.1f}" '
            f'text-anchor="middle" font-size="12" fill="{_MUTED}" stroke="{_PAPER}" '
            f'stroke-width="5" stroke-linejoin="round" paint-order="stroke">'
            f"{_text(line)}</text>"
        )


def _node(box: Box, picture: Picture, link: Linked) -> Iterator[str]:
    kind = "end" if box.kind in ("input", "output") else box.kind
    fill, stroke = {
        "end": ("#f3f5f7", "#8b98a5"),
        "step": ("#eaf2ff", "#2f6fd0"),
        "call": ("#ffffff", "#8b98a5"),
    }[kind]
    whole = _whole_name(box, picture)
    address = link(whole) if kind != "end" else None
    if address:
        yield f'<a href="{escape(address)}">'
    dashes = ' stroke-dasharray="5 4"' if kind == "call" else ""
    yield (
        f'<g class="{kind}"><title>{_text(whole)}</title>'
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{12 if kind == "end" else 5}" fill="{fill}" '
        f'stroke="{stroke}" stroke-width="1.2"{dashes}/>'
    )
    for number, line in enumerate(box.lines):
        yield (
            f'<text x="{box.x + box.width / 2:.1f}" '
            f'y="{box.y + 8 + number * LINE + 13.5:.1f}" text-anchor="middle" '
            f'fill="{_INK}">{_text(line)}</text>'
        )
    yield "</g></a>" if address else "</g>"


def _whole_name(box: Box, picture: Picture) -> str:
    if box.kind in ("input", "output"):
        return "\n".join(picture.inputs if box.kind == "input" else picture.outputs)
    if box.kind == "step":
        return picture.steps[int(box.key[1:]) - 1]
    outside = [c.model for c in picture.calls if c.model not in picture.steps]
    return [*dict.fromkeys(outside)][int(box.key[1:]) - 1]


def _text(text: str) -> str:
    """Escape a text, and replace what XML cannot hold."""
    return escape(_ILLEGAL.sub("\ufffd", text))


def png_from_svg(svg: str, *, zoom: float = 2.0) -> bytes:
    """Render an SVG as PNG, at twice its size unless told.

    Raises:
        MissingExtraError: resvg is not installed.
        SpecError: there is no font that it could write the names with.
    """
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise MissingExtraError("resvg_py, which draws PNG,", extra="png") from error
    if _blank(svg_to_bytes):
        raise SpecError(
            "PNG: expected a monospaced font on this machine, found none",
            hint="apt-get install fonts-dejavu-core, or write --format svg",
        )
    return bytes(svg_to_bytes(svg_string=svg, zoom=zoom))


def _blank(render: Callable[..., bytes]) -> bool:
    """Say whether text leaves no trace: resvg is silent where it has no font."""
    page = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20" '
        f'font-family="{escape(_FONT)}"><text y="15">{{}}</text></svg>'
    )
    shown, empty = (bytes(render(svg_string=page.format(t))) for t in ("M", ""))
    return shown == empty
