"""The form of `triton-kit ui`: a request to the real server, and its response."""

import html

import pytest

from ui_pages import show

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def pages(small_repository):
    with show(small_repository, "--server", "localhost:1") as started:
        yield started


def sent(pages, server, model, **inputs):
    address = server.http_url.removeprefix("http://")
    fields = {"server": address, "model": model}
    fields |= {f"text:{name}": text for name, text in inputs.items()}
    page = pages.post("/infer", fields)
    assert page.status == 200
    return html.unescape(page.text)


def test_the_form_has_the_models_inputs_and_the_given_server(pages):
    text = html.unescape(pages.ask("/infer?model=identity").text)

    assert 'value="localhost:1"' in text
    assert 'name="text:x"' in text
    assert "<option selected>identity</option>" in text


@pytest.mark.parametrize("values", ["[[1, 2, 3, 4]]", "[1, 2, 3, 4]"])
def test_values_are_sent_and_the_response_is_shown(pages, server, values):
    text = sent(pages, server, "affine", x=values)

    assert "affine version 1 responded in" in text
    assert "[[3.0, 5.0, 7.0, 9.0]]" in text
    assert "FP32 [1, 4]" in text


def test_without_values_they_are_random(pages, server):
    text = sent(pages, server, "affine", x=" ")

    assert "affine version 1 responded in" in text


def test_random_values_need_a_size(pages, server):
    text = sent(pages, server, "identity")

    assert "input 'x' has an axis of any size" in text
    assert "Hint: type values" in text


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ("[[1, 2", "expected JSON"),
        ('[["a"]]', "expected numbers of FP32"),
        ("[[1, 2], [3]]", "expected numbers of FP32"),
        ("[[1, 2, 3]]", "No response"),
    ],
)
def test_values_that_do_not_fit_are_explained(pages, server, values, reason):
    text = sent(pages, server, "affine", x=values)

    assert reason in text
    assert "responded in" not in text
    assert values in text  # the form keeps what was typed


def test_a_model_that_the_server_has_not_is_its_error(pages, server):
    text = sent(pages, server, "<absent>", x="[1]")

    assert "No response" in text
    assert "'<absent>'" in text
