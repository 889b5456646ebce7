"""The folder of a deployment: whole, the kit's own, and with what the user added."""

import os

import pytest

from triton_kit.deployment.folder import MANIFEST, write_folder
from triton_kit.errors import SpecError

FIRST = {"a.yaml": "a: 1\n", "base/b.yaml": "b: 1\n", "base/old/c.yaml": "c: 1\n"}
SECOND = {"a.yaml": "a: 2\n", "base/b.yaml": "b: 1\n"}


def texts(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "new" / "out", "kubernetes", FIRST)
    return tmp_path / "new" / "out"


def test_a_later_run_replaces_what_the_kit_wrote(folder):
    (folder / "overlays").mkdir()
    (folder / "overlays" / "mine.yaml").write_text("mine: 1\n")

    write_folder(folder, "kubernetes", SECOND)

    assert texts(folder) == SECOND | {"overlays/mine.yaml": "mine: 1\n"}
    assert not (folder / "base" / "old").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: (f / "a.yaml").write_text("a: 9\n"), "was edited"),
        (lambda f: (f / MANIFEST).write_text("{}"), "not what the kit writes"),
        (
            lambda f: (f / MANIFEST).write_text(
                '{"target": "kubernetes", "files": {"../../x": ""}}'
            ),
            "not what the kit writes",
        ),
        (lambda f: (f / MANIFEST).unlink(), "no deployment that the kit wrote"),
    ],
)
def test_a_folder_that_is_not_as_the_kit_left_it_stays(folder, change, words):
    change(folder)
    before = texts(folder)

    with pytest.raises(SpecError, match=words) as caught:
        write_folder(folder, "kubernetes", SECOND)

    assert caught.value.hint
    assert texts(folder) == before


def test_another_target_needs_another_folder(folder):
    with pytest.raises(SpecError, match="holds a deployment for kubernetes"):
        write_folder(folder, "compose", SECOND)


def test_a_new_file_does_not_replace_one_of_the_user(folder):
    (folder / "d.yaml").write_text("d: mine\n")

    with pytest.raises(SpecError, match=r"d\.yaml: exists"):
        write_folder(folder, "kubernetes", SECOND | {"d.yaml": "d: 1\n"})

    assert texts(folder) == FIRST | {"d.yaml": "d: mine\n"}


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    too_long = "x" * (os.pathconf(tmp_path, "PC_NAME_MAX") + 1)

    with pytest.raises(SpecError, match="cannot write it: File name too long"):
        write_folder(tmp_path / "out", "kubernetes", FIRST | {too_long: ""})

    assert not (tmp_path / "out").exists()


def test_what_cannot_be_replaced_leaves_all_as_it_was(folder):
    too_long = "x" * (os.pathconf(folder, "PC_NAME_MAX") + 1)

    with pytest.raises(SpecError, match="cannot write it"):
        write_folder(folder, "kubernetes", SECOND | {f"new/{too_long}/c": ""})

    assert texts(folder) == FIRST
    assert not (folder / "new").exists()
