"""The frame itself: what the browser's fixtures find, and what they must not miss."""

import pytest

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title></head>
<body><main><h1>A page</h1>{}</main></body></html>
"""


@pytest.fixture
def write_page(tmp_path):
    def write(body):
        path = tmp_path / "page.html"
        path.write_text(PAGE.format(body))
        return path.as_uri()

    return write


def test_a_plain_page_has_no_faults(visit, write_page):
    opened = visit(write_page("<p>Text.</p>"), width=360, scheme="dark")

    assert opened.faults() == []
    assert opened.overflow() == 0
    assert opened.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")


def test_what_is_wrong_with_a_page_is_found(visit, write_page):
    body = """<p style="color: #eee">pale</p><div style="width: 9999px">wide</div>
    <script>console.error("from the page"); missing()</script>
    <img alt="" src="http://127.0.0.1:9/elsewhere.png">"""

    opened = visit(write_page(body))
    faults, errors, foreign = opened.faults(), [*opened.errors], [*opened.foreign]
    opened.errors.clear()
    opened.foreign.clear()

    assert any("color-contrast" in fault for fault in faults)
    assert opened.overflow() > 0
    assert any("from the page" in error for error in errors)
    assert any("missing is not defined" in error for error in errors)
    assert foreign == ["http://127.0.0.1:9/elsewhere.png"]
