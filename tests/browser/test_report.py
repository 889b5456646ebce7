"""Reports of real results in a real browser: drawn, readable, and without a request."""

from pathlib import Path

import pytest

from triton_kit.report.write import write_report

RESULTS = Path(__file__).parent / "results"
KINDS = {
    "perf": ["one"],
    "sweep": ["sweep"],
    "tune": ["tune"],
    "convert": ["convert-fp32", "convert-fp16", "convert-int8"],
    "several": ["one", "sweep", "failing", "repeated", "batches"],
}
IN_CI = {
    ("perf", 360, "dark"),
    ("sweep", 768, "light"),
    ("tune", 1440, "dark"),
    ("convert", 360, "light"),
}
VIEWS = [
    pytest.param(
        *view,
        marks=() if view in IN_CI else pytest.mark.long,
        id="-".join(map(str, view)),
    )
    for view in (
        (kind, width, scheme)
        for kind in KINDS
        for width in (360, 768, 1440)
        for scheme in ("light", "dark")
    )
]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Write the report of a kind of result, and return its address."""
    folder = tmp_path_factory.mktemp("reports")

    def write(kind):
        path = folder / f"{kind}.html"
        if not path.exists():
            write_report([RESULTS / f"{name}.json" for name in KINDS[kind]], path)
        return path.as_uri()

    return write


def draw_all(page):
    """Scroll to every chart until it is drawn, and return them."""
    charts = page.query_selector_all(".chart")
    for chart in charts:
        chart.scroll_into_view_if_needed()
        page.wait_for_function("chart => chart.dataset.drawn === 'yes'", arg=chart)
    return charts


@pytest.mark.parametrize(("kind", "width", "scheme"), VIEWS)
def test_a_report_is_drawn_and_without_faults(visit, report, kind, width, scheme):
    opened = visit(report(kind), width=width, scheme=scheme)

    for chart in draw_all(opened.page):
        figure = chart.evaluate_handle("chart => chart.closest('figure')").as_element()
        assert chart.query_selector_all(".point, .points path, .js-line")
        assert "Chart: " in chart.get_attribute("aria-label")
        assert figure.query_selector_all("details tbody tr")
    assert opened.overflow() <= 0
    assert opened.faults() == []
    opened.shoot(f"report-{kind}-{width}-{scheme}")


def test_a_chart_shows_the_value_under_the_mouse(visit, report):
    page = visit(report("convert")).page
    draw_all(page)
    bar = page.locator(".chart .bars .point path").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()

    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 6)

    label = page.locator(".hoverlayer .hovertext").first
    label.wait_for()
    assert "SNR (dB)" in label.text_content()


def test_resources_over_time_are_drawn_with_their_table(visit, report):
    page = visit(report("perf")).page
    draw_all(page)

    for title, lines in (("CPU and GPU over time", 3), ("Memory over time", 1)):
        figure = page.locator("figure", has_text=title).first
        assert figure.locator(".scatterlayer .js-line").count() == lines
        assert figure.locator("details tbody tr").count() >= 2 * lines


def test_a_table_sorts_and_filters(visit, report):
    page = visit(report("sweep")).page
    table = page.locator("table.sorted").first

    table.get_by_role("button", name="Throughput").click()
    cells = table.locator("tbody td:nth-child(2)").all_text_contents()
    rates = [float(text.replace(",", "")) for text in cells]
    assert rates == sorted(rates)
    table.get_by_role("button", name="Throughput").click()
    cells = table.locator("tbody td:nth-child(2)").all_text_contents()
    assert [float(text.replace(",", "")) for text in cells] == rates[::-1]

    page.get_by_role("searchbox").first.fill("concurrency 16")
    assert table.locator("tbody tr:visible").count() == 1


def test_charts_take_the_colours_of_the_page(visit, report):
    page = visit(report("convert"), scheme="light").page
    draw_all(page)
    bar = page.locator(".chart .bars .point path").first
    light = bar.evaluate("bar => getComputedStyle(bar).fill")

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(
        "before => getComputedStyle(document.querySelector("
        "'.chart .bars .point path')).fill !== before",
        arg=light,
    )
