"""Pipelines as SVG and PNG."""

import random
from functools import partial
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest
from resvg_py import svg_to_bytes
from test_drawing import ENSEMBLE

from triton_kit.repository.drawing import Call, Edge, Picture
from triton_kit.repository.layout import place
from triton_kit.repository.svg import _blank, as_svg, inline_svg

NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def repository(tmp_path):
    config = ENSEMBLE.replace('"decode"', '"<script>"')
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "config.pbtxt").write_text(config)
    return tmp_path


def picture(steps, edges, **more):
    given = {"inputs": ("i",), "outputs": ("o",), "loose": ()} | more
    return Picture(name="p", steps=tuple(steps), edges=tuple(edges), **given)


def random_picture(seed):
    """An ensemble whose steps read from any steps before them."""
    draw = random.Random(seed)
    count = draw.randint(1, 30)
    edges = [
        Edge(f"t{draw.randrange(count)}", draw.randrange(number), number)
        for number in range(1, count + 1)
        for _ in range(draw.randint(1, 3))
    ]
    edges += [Edge(f"o{n}", draw.randint(1, count), 0) for n in range(3)]
    return picture([f"model{'x' * draw.randrange(60)}" for _ in range(count)], edges)


def test_svg_is_xml_with_every_name_escaped(kit, repository):
    root = ET.fromstring(kit("graph", repository, "--format", "svg").output)
    texts = [text.text for text in root.iter(f"{NAMESPACE}text")]

    assert root.tag == f"{NAMESPACE}svg"
    assert {"read", "<script>", "digits", "png", "image", "scores FP32 [10]"} <= {
        *texts
    }
    assert "not written: mask" in texts
    assert "step 1  <script>: png -> image" in root.find(f"{NAMESPACE}desc").text


def test_characters_that_xml_cannot_hold_are_replaced():
    root = ET.fromstring(as_svg([picture(["a\x00b\ud800"], [Edge("t", 0, 1)])]))

    assert "a\ufffdb\ufffd" in [text.text for text in root.iter(f"{NAMESPACE}text")]


@pytest.mark.parametrize("seed", range(20))
def test_boxes_stand_apart_and_edges_lead_right(seed):
    placed = place(random_picture(seed))
    boxes = [box for box in placed.boxes if box.kind != "bend"]

    for one, other in combinations(boxes, 2):
        apart_x = one.x + one.width <= other.x or other.x + other.width <= one.x
        apart_y = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert apart_x or apart_y
    for curve in placed.curves:
        for left, right in zip(curve.boxes, curve.boxes[1:], strict=False):
            assert left.x + left.width < right.x
    for box in boxes:
        assert box.x >= 0
        assert box.x + box.width <= placed.width
        assert box.y + box.height <= placed.height


def test_steps_in_a_circle_are_drawn():
    edges = [Edge("a", 0, 1), Edge("b", 1, 2), Edge("c", 2, 1), Edge("d", 2, 2)]

    placed = place(picture(["one", "two"], [*edges, Edge("o", 2, 0)]))

    assert {box.key: box.layer for box in placed.boxes if box.key} == {
        "input": 0,
        "s1": 1,
        "s2": 2,
        "output": 3,
    }
    ET.fromstring(as_svg([placed.picture]))


def test_called_models_stand_right_of_their_caller():
    calls = (Call(1, "other"), Call(1, "one"))
    placed = place(picture(["one"], [Edge("i", 0, 1)], calls=calls, outputs=()))

    assert {box.key: box.layer for box in placed.boxes if box.key} == {
        "input": 0,
        "s1": 1,
        "c1": 2,
    }


def test_nothing_to_draw_is_an_empty_picture(kit, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.pbtxt").write_text('backend: "python"')

    done = kit("graph", tmp_path, "--format", "svg")

    assert done.exit_code == 0
    assert "nothing to draw" in done.output


def test_in_a_page_models_are_links_and_there_is_no_style():
    text = inline_svg(
        [picture(["a&b"], [Edge("i", 0, 1)])],
        link=lambda model: f'/models/"{model}"',
    )
    root = ET.fromstring(text)

    assert [a.get("href") for a in root.iter(f"{NAMESPACE}a")] == ['/models/"a&b"']
    assert list(root.iter(f"{NAMESPACE}style")) == []
    assert "style=" not in text


def test_png_is_a_picture_of_the_svg_at_twice_its_size(kit, repository, tmp_path):
    path = tmp_path / "p.png"

    done = kit("graph", repository, "--format", "png", "-o", path)
    svg = ET.fromstring(kit("graph", repository, "--format", "svg").output)
    content = path.read_bytes()

    assert done.exit_code == 0, done.output
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(content[16:20], "big") == 2 * int(svg.get("width"))


def test_a_machine_without_fonts_is_noticed():
    assert _blank(partial(svg_to_bytes, skip_system_fonts=True))
