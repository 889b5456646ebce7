"""Each page of the folder that is shown, as HTML."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # what a template shows
from urllib.parse import quote

from markupsafe import Markup

from triton_kit.report.page import read_asset, render_page
from triton_kit.report.write import render_report
from triton_kit.repository.drawing import Picture
from triton_kit.repository.svg import inline_svg
from triton_kit.ui.check_page import source_lines
from triton_kit.ui.contents import Model, Repository, explain, read_repository
from triton_kit.ui.inference import Asked, Responded
from triton_kit.ui.results import Result, read_results

SCRIPT = read_asset("ui/ui.js")
ALLOWED = {"form-action": "'self'"}


@dataclass(frozen=True, slots=True)
class Site:
    """What is shown: folders, and the server that the form begins with."""

    paths: tuple[Path, ...]
    server: str = ""

    def repository(self) -> Repository | None:
        """Read the repository anew; the first, where several are named."""
        found = (read_repository(path) for path in self.paths if path.is_dir())
        return next((one for one in found if one is not None), None)

    def results(self) -> list[Result]:
        """Read the results anew; those inside a repository as well."""
        return [result for path in self.paths for result in read_results(path)]


class NotThereError(Exception):
    """A page that does not exist: what was asked for."""


def overview(site: Site) -> str:
    """Show all models, or what the folder is instead."""
    repository = site.repository()
    results = site.results()
    return _page(
        "overview.html.j2",
        site,
        "Models",
        repository=repository,
        sources=source_lines(repository.general()) if repository else {},
        models=repository.models() if repository else [],
        pictures=len(repository.pictures()) if repository else 0,
        results=results,
        explanations=[
            explain(path)
            for path in site.paths
            if not (repository or results) or not path.exists()
        ],
    )


def model_page(site: Site, name: str) -> str:
    """Show one model: config, tensors, versions, findings and results."""
    repository = site.repository()
    model = repository.model(name) if repository else None
    if repository is None or model is None:
        raise NotThereError(f"There is no model {name!r} (any more).")
    return _page(
        "model.html.j2",
        site,
        name,
        model=model,
        lines=model.config_lines(),
        sources=source_lines(model.findings),
        picture=_drawn(repository.pictures(name), repository),
        results=[result for result in site.results() if result.model == name],
    )


def pipelines(site: Site) -> str:
    """Show every ensemble, and every model that calls others, as a picture."""
    repository = site.repository()
    drawn = repository.pictures() if repository else []
    return _page(
        "pipelines.html.j2",
        site,
        "Pipelines",
        pictures=[(one.name, _drawn([one], repository)) for one in drawn],
    )


def results_page(site: Site) -> str:
    """Show the results by model and version."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in site.results():
        groups.setdefault((result.model, result.version), []).append(result)
    return _page("results.html.j2", site, "Results", groups=sorted(groups.items()))


def result_page(site: Site, key: str) -> str:
    """Show one result."""
    result = find_result(site, key)
    return _page("result.html.j2", site, result.path.name, result=result)


def report(site: Site, key: str) -> str:
    """Draw the report of one result."""
    return str(render_report([find_result(site, key).path], "html"))


def find_result(site: Site, key: str) -> Result:
    """Return a result by its key."""
    for result in site.results():
        if result.key == key:
            return result
    raise NotThereError("There is no such result (any more).")


def inference_page(site: Site, asked: Asked, responded: Responded | None = None) -> str:
    """Show the form for one request, and the response if one was sent."""
    repository = site.repository()
    names = repository.names if repository else ()
    model = repository.model(asked.model) if repository else None
    return _page(
        "infer.html.j2",
        site,
        "One inference",
        asked=asked,
        names=names,
        inputs=_inputs(model, asked.texts),
        is_known=model is not None,
        responded=responded,
    )


def message_page(site: Site, title: str, text: str, hint: str = "") -> str:
    """Show an error."""
    return _page("message.html.j2", site, title, text=text, hint=hint)


def _inputs(
    model: Model | None, texts: Mapping[str, str]
) -> Sequence[tuple[str, str, str]]:
    """Return the inputs of a model; those of the form where it is unknown."""
    if model is not None and (tensors := model.tensors("input")):
        return tensors
    return [(name, "", "") for name in texts]


def _drawn(pictures: Sequence[Picture], repository: Repository | None) -> Markup | None:
    """Draw pictures whose models lead to their pages."""
    if not pictures or repository is None:
        return None
    known = set(repository.names)

    def link(name: str) -> str | None:
        return f"/models/{_address(name)}" if name in known else None

    return Markup(inline_svg(pictures, link=link))


def _page(template: str, site: Site, title: str, **values: Any) -> str:  # noqa: ANN401
    return render_page(
        f"ui/{template}",
        scripts=[SCRIPT],
        allow=ALLOWED,
        title=title,
        summary=[],
        # Without one, browsers would send `Origin: null` with our own form.
        referrer="same-origin",
        shown=", ".join(str(path) for path in site.paths),
        view=template.split(".")[0],
        address=_address,
        size=_size,
        count=_count,
        **values,
    )


def _address(name: str) -> str:
    """Return a name as a part of an address; not every name is UTF-8."""
    return quote(os.fsencode(name), safe="")


def _size(number: float) -> str:
    """Return a number of bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
