"""Results of every kind become one document."""

from __future__ import annotations

from collections.abc import Sequence

from triton_kit.report.convert_section import convert_section
from triton_kit.report.document import Document, Section
from triton_kit.report.perf_section import perf_sections
from triton_kit.report.result_files import Source
from triton_kit.report.tune_section import tune_section
from triton_kit.report.views import ConvertView, PerfView, TuneView


def compose(sources: Sequence[Source], *, title: str | None = None) -> Document:
    """Return the report of some results.

    Args:
        title: of the report; None: from what they are about.
    """
    sections: list[Section] = []
    summary: list[str] = []
    warnings: tuple[str, ...] = ()
    if any(isinstance(source.view, PerfView) for source in sources):
        parts, sentences, warnings = perf_sections(sources)
        sections += parts
        summary += sentences
    searches = [(s.name, s.view) for s in sources if isinstance(s.view, TuneView)]
    for name, search in searches:
        section, sentence = tune_section(name if len(searches) > 1 else "", search)
        sections.append(section)
        summary.append(sentence)
    manifests = [(s.name, s.view) for s in sources if isinstance(s.view, ConvertView)]
    if manifests:
        section, sentence = convert_section(manifests)
        sections.append(section)
        summary.append(sentence)
    return Document(
        title=title or _title(sources),
        summary=tuple(summary),
        sections=tuple(sections),
        warnings=warnings,
    )


def _title(sources: Sequence[Source]) -> str:
    subjects = list(dict.fromkeys(filter(None, map(_subject, sources))))
    if len(subjects) == 1:
        return subjects[0]
    return f"{len(sources)} results"


def _subject(source: Source) -> str:
    match source.view:
        case PerfView() as view:
            return f"Load test of {view.model.get('name') or 'a model'}"
        case TuneView() as view:
            return f"Tuning of {view.model}"
        case ConvertView() as view:
            name = view.source.get("name") or view.source.get("file") or source.name
            return f"Conversion of {name}"
