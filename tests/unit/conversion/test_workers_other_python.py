"""A Python of its own, for libraries that want other versions than the kit's."""

import sys

import pytest

from triton_kit.conversion.workers.other_python import OtherPython
from triton_kit.errors import MissingExtraError, SpecError

VARIABLE = "TRITON_KIT_SOME_PYTHON"


def other_python(*modules):
    return OtherPython(VARIABLE, modules, what="something", extra="torch")


def test_it_is_what_the_variable_names(monkeypatch):
    monkeypatch.setenv(VARIABLE, sys.executable)

    assert other_python("nobody_has_this").program() == sys.executable


def test_it_is_ours_where_ours_has_the_modules(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    assert other_python("numpy", "onnx").program() == sys.executable


def test_the_extra_is_named_where_ours_lacks_one(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)

    with pytest.raises(MissingExtraError, match=VARIABLE) as raised:
        other_python("numpy", "nobody_has_this").program()

    assert "triton_kit[torch]" in raised.value.hint


def test_what_cannot_be_started_is_refused(monkeypatch, tmp_path):
    folder = tmp_path / "environment"
    folder.mkdir()
    for given in (folder, tmp_path / "missing"):
        monkeypatch.setenv(VARIABLE, str(given))

        with pytest.raises(SpecError, match=f"{VARIABLE} is {given}") as raised:
            other_python("numpy").program()

        assert "bin/python" in raised.value.hint
