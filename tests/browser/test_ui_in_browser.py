"""The pages of `triton-kit ui` in a real browser."""

import re
import shutil
from pathlib import Path

import pytest
from page_sizes import FEW, GRID

from ui_pages import show

ROOT = Path(__file__).parents[2]
BROKEN = 'backend: "identity"\ninput { name: "a" data_type: TYPE_FP32 dims: [ 4 }\n'
VIEWS = {
    "overview": "/",
    "model": "/models/read_digit",
    "findings": "/models/broken",
    "pipelines": "/pipelines",
    "results": "/results",
    "result": "result",
    "infer": "/infer?model=read_digit",
    "message": "/nowhere",
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    root = tmp_path_factory.mktemp("shown")
    repository = root / "repository"
    shutil.copytree(ROOT / "model_repository", repository)
    (repository / "broken" / "1").mkdir(parents=True)
    (repository / "broken" / "config.pbtxt").write_text(BROKEN)
    result = ROOT / "docs" / "benchmarks" / "gpu" / "one-h100-graphs" / "grpc-1.json"
    with show(repository, result) as started:
        yield started


@pytest.fixture
def enter(visit, pages):
    """Open the printed URL, as a user does, then a view."""

    def start(view, **settings):
        opened = visit(pages.url, **settings)
        path = VIEWS[view]
        if path == "result":
            opened.page.goto(f"{pages.base}/results")
            path = opened.page.locator("tbody a").first.get_attribute("href")
        opened.page.goto(pages.base + path)
        if view == "message":  # the browser reports the status of a page as an error
            assert all("404" in error for error in opened.errors)
            opened.errors.clear()
        return opened

    return start


def check(opened, name):
    opened.shoot(name)
    assert opened.overflow() == 0
    assert opened.faults() == []


@pytest.mark.parametrize(
    ("view", "width", "scheme"),
    [
        (view, *FEW[number % len(FEW)])
        for number, view in enumerate(VIEWS)
        if view != "results"
    ],
)
def test_a_view_is_readable_and_accessible(enter, view, width, scheme):
    check(enter(view, width=width, scheme=scheme), f"ui-{view}-{width}-{scheme}")


@pytest.mark.long
@pytest.mark.parametrize(("width", "scheme"), GRID)
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_at_every_width(enter, view, width, scheme):
    check(enter(view, width=width, scheme=scheme), f"ui-{view}-{width}-{scheme}")


def test_the_table_is_filtered(enter):
    page = enter("overview").page

    page.get_by_label("Show models with").fill("onnx dig")

    assert page.locator("tbody tr:visible").count() == 1
    assert page.get_by_role("status").inner_text() == "1 of 4 shown"


def test_the_keyboard_reaches_all_that_can_be_used(enter):
    page = enter("overview").page
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        text = "document.activeElement.innerText || document.activeElement.id"
        reached.append(page.evaluate(text).strip())

    for wanted in ("Skip to the content", "Pipelines", "filter", "digits", "broken"):
        assert wanted in reached


def test_a_form_is_sent_and_its_error_is_shown(enter):
    page = enter("infer").page

    page.get_by_label("Server (HTTP)").fill("127.0.0.1:1")
    page.get_by_label(re.compile("^Input png")).fill("[[1]]")
    page.get_by_role("button", name="Send").click()

    assert "127.0.0.1:1" in page.get_by_role("alert").inner_text()
    assert page.get_by_label(re.compile("^Input png")).input_value() == "[[1]]"


def test_a_model_of_a_picture_leads_to_its_page(enter):
    page = enter("pipelines").page

    page.locator("svg a", has_text="decode").click()
    page.wait_for_url("**/models/decode")

    assert page.get_by_role("heading", level=1).inner_text() == "decode"


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        size if size == FEW[0] else pytest.param(*size, marks=pytest.mark.long)
        for size in GRID
    ],
)
def test_the_page_of_a_check_is_one_file_that_opens_offline(
    kit, visit, tmp_path, width, scheme
):
    for name, config in {"a<script>alert(1)<": BROKEN, "good": ""}.items():
        (tmp_path / "r" / name / "1").mkdir(parents=True)
        (tmp_path / "r" / name / "config.pbtxt").write_text(config)
    page = tmp_path / "check.html"

    done = kit("validate", tmp_path / "r", "--format", "html", "-o", page)
    opened = visit(page.as_uri(), width=width, scheme=scheme)

    assert done.exit_code == 1
    check(opened, f"validate-{width}-{scheme}")
    assert "dims: [ 4 }" in opened.page.locator("pre").first.inner_text()
    assert "1 error" in opened.page.locator("table").inner_text()


def test_a_report_draws_its_charts_here_too(enter, pages):
    page = enter("result").page

    page.get_by_role("link", name="Open the report").click()
    page.wait_for_url("**/report")
    page.locator(".js-plotly-plot svg").first.wait_for()

    assert page.get_by_role("heading", level=1).count() == 1
