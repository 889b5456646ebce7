"""Manifests of conversions become a section: accuracy, size and speed by precision."""

from __future__ import annotations

from collections.abc import Sequence

from triton_kit.report.document import Chart, Section, Series, Table, Value, shown
from triton_kit.report.views import ConvertView

_MIB, _KIB = 2.0**20, 2.0**10
Named = Sequence[tuple[str, ConvertView]]


def convert_section(named: Named) -> tuple[Section, str]:
    """Return the section of all manifests, and its sentence for the summary."""
    labels = _labels(named)
    views = [(label, view) for label, (_, view) in zip(labels, named, strict=True)]
    charts = (_accuracy(views), _size(views), _speed(views))
    notes = [f"{label}: {note}" for label, view in views for note in view.notes]
    section = Section(
        title="Conversions",
        lines=tuple(notes[:5]),
        parts=(
            *(chart for chart in charts if chart),
            _table(views),
            *_tried_table(views),
            *_kept(views),
            _tools(views),
        ),
    )
    return section, _sentence(views)


def _labels(named: Named) -> list[str]:
    """Return the precision of each, if that tells them apart; else the file."""
    precisions = [view.precision or "" for _, view in named]
    if all(precisions) and len(set(precisions)) == len(precisions):
        return precisions
    return [
        f"{name} ({precision})" if precision else name
        for (name, _), precision in zip(named, precisions, strict=True)
    ]


def _sentence(views: Named) -> str:
    sized = [(label, _bytes(view)) for label, view in views if _bytes(view)]
    if not sized:
        return f"{len(views)} artifacts."
    label, least = min(sized, key=lambda entry: entry[1])
    view = dict(views)[label]
    accuracy = _worst_db(view)
    words = f" with an SNR of {shown(accuracy)} dB" if accuracy is not None else ""
    before = view.before.bytes if view.before else 0
    smaller = (
        f", {shown(before / least)} times smaller than its source" if before else ""
    )
    first = f"Smallest: {label}{words}, {_size_text(least)}{smaller}."
    return first if len(views) > 1 else first.replace("Smallest: ", "")


def _unit(views: Named) -> tuple[str, float]:
    """Return the unit for all sizes: MiB, or KiB where every one is small."""
    is_small = all(_bytes(view) < _MIB for _, view in views)
    return ("KiB", _KIB) if is_small else ("MiB", _MIB)


def _size_text(count: int) -> str:
    return (
        f"{shown(count / _MIB)} MiB" if count >= _MIB else f"{shown(count / _KIB)} KiB"
    )


def _bytes(view: ConvertView) -> int:
    if view.after and view.after.bytes:
        return view.after.bytes
    sizes = [f.get("bytes", 0) for f in view.files.values() if isinstance(f, dict)]
    return sum(size for size in sizes if isinstance(size, int))


def _worst_db(view: ConvertView) -> float | None:
    """Return the SNR of the worst output; None where nothing differs or is known."""
    outputs = view.accuracy.outputs if view.accuracy else []
    return min((o.snr_db for o in outputs if o.snr_db is not None), default=None)


def _accuracy(views: Named) -> Chart | None:
    names = dict.fromkeys(
        output.name
        for _, view in views
        for output in (view.accuracy.outputs if view.accuracy else ())
    )
    series = []
    for name in names:
        found = [_snr(view, name) for _, view in views]
        labels = [label for label, _ in views]
        if any(value is not None for value in found):
            series.append(Series(name=name, x=labels, y=found, kind="bar"))
    if not series:
        return None
    return Chart(
        title="Accuracy",
        says="Signal-to-noise ratio of each output against the source; higher is "
        "better. 20 dB more is a tenth of the error.",
        x_title="Artifact",
        y_title="SNR (dB)",
        x_scale="category",
        series=tuple(series),
        notes=_exact(views),
    )


def _snr(view: ConvertView, name: str) -> float | None:
    outputs = view.accuracy.outputs if view.accuracy else []
    return next((o.snr_db for o in outputs if o.name == name), None)


def _exact(views: Named) -> tuple[str, ...]:
    same = [
        label
        for label, view in views
        if view.accuracy and view.accuracy.outputs and _worst_db(view) is None
    ]
    return (f"No error at all: {', '.join(same)}.",) if same else ()


def _size(views: Named) -> Chart | None:
    unit, scale = _unit(views)
    sizes = [(label, _bytes(view) / scale) for label, view in views]
    if not any(size for _, size in sizes):
        return None
    sources = {v.before.bytes / scale for _, v in views if v.before and v.before.bytes}
    rows = [*[("source", size) for size in sorted(sources)[:1]], *sizes]
    smallest = min(sizes, key=lambda row: row[1])
    return Chart(
        title="Size",
        says=f"{smallest[0]} is the smallest, {shown(smallest[1])} {unit}.",
        x_title="Artifact",
        y_title=f"Size ({unit})",
        x_scale="category",
        series=(
            Series(
                name="size",
                x=[label for label, _ in rows],
                y=[size for _, size in rows],
                kind="bar",
            ),
        ),
    )


def _speed(views: Named) -> Chart | None:
    rows = [
        (f"{label}: {row.precision}" if len(views) > 1 else row.precision, row.seconds)
        for label, view in views
        for row in view.tried
        if row.seconds is not None
    ]
    if not rows:
        return None
    fastest = min(rows, key=lambda row: row[1] or 0.0)
    return Chart(
        title="Time of an inference",
        says=f"{fastest[0]} is the fastest: {shown(1e3 * (fastest[1] or 0.0))} ms.",
        x_title="Precision",
        y_title="Median time (ms)",
        x_scale="category",
        series=(
            Series(
                name="median",
                x=[label for label, _ in rows],
                y=[1e3 * seconds for _, seconds in rows if seconds is not None],
                kind="bar",
            ),
        ),
    )


def _table(views: Named) -> Table:
    unit, scale = _unit(views)
    columns = ("Artifact", "Precision", "Format", f"Size ({unit})", "Nodes", "Output")
    rows: list[tuple[Value, ...]] = []
    for label, view in views:
        nodes = float(view.after.nodes) if view.after else None
        head = (label, view.precision, view.format, _bytes(view) / scale, nodes)
        outputs = view.accuracy.outputs if view.accuracy else []
        for o in outputs:
            top1 = None if o.top1_agreement is None else 100 * o.top1_agreement
            rows.append((*head, o.name, o.snr_db, o.max_abs_error, o.cosine, top1))
        if not outputs:
            rows.append((*head, None, None, None, None, None))
    figures = ("SNR (dB)", "Largest error", "Cosine", "Top-1 agreement (%)")
    return Table(title="Artifacts", columns=(*columns, *figures), rows=tuple(rows))


def _tried_table(views: Named) -> list[Table]:
    rows = [
        (
            *(label, row.precision),
            1e3 * row.seconds if row.seconds is not None else None,
            row.bytes / _MIB if row.bytes is not None else None,
            *(row.snr_db, row.why_not or "chosen"),
        )
        for label, view in views
        for row in view.tried
    ]
    columns = (
        "Artifact",
        "Precision",
        "Time (ms)",
        "Size (MiB)",
        "SNR (dB)",
        "Why not",
    )
    title = "Precisions that were tried"
    return [Table(title=title, columns=columns, rows=tuple(rows))] if rows else []


def _kept(views: Named) -> list[Table]:
    rows = [
        (label, *entry) for label, view in views for entry in view.kept_fp32.items()
    ]
    columns = ("Artifact", "Node", "Why")
    title = "Nodes in higher precision"
    return [Table(title=title, columns=columns, rows=tuple(rows))] if rows else []


def _tools(views: Named) -> Table:
    names = list(dict.fromkeys(name for _, view in views for name in view.tools))
    return Table(
        title="Tools",
        columns=("Tool", *(label for label, _ in views)),
        rows=tuple(
            (name, *(str(view.tools.get(name, "")) for _, view in views))
            for name in names
        ),
    )
