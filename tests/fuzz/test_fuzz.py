"""Half a minute of fuzzing of everything that reads foreign bytes."""

from importlib.util import find_spec

import pytest

from fuzz.fuzzing import CORPUS, NAMES, fuzz

pytestmark = pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris")


@pytest.mark.parametrize("name", NAMES)
def test_no_input_crashes_hangs_or_fills_the_memory(name, tmp_path):
    outcome = fuzz(name, seconds=2, folder=tmp_path)

    assert not outcome.found, outcome.found
    assert outcome.runs > len(list((CORPUS / name).iterdir()))
