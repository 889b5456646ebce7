"""Releases as data: found by either name, in order, with what they carry."""

import json
from pathlib import Path

import pytest

from triton_kit.errors import SpecError
from triton_kit.triton.releases import (
    all_releases,
    find_release,
    known_release,
    open_cves,
)
from triton_kit.triton.server_flags import require_flag

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["24.10", "2.51", "2.51.0"])
def test_a_release_has_three_names(name):
    release = find_release(name)

    assert (release.release, release.server) == ("24.10", "2.51.0")
    assert release.image.endswith(":24.10-py3")


def test_releases_ascend_without_a_gap_or_a_double():
    names = [release.release for release in all_releases()]
    months = [int(y) * 12 + int(m) for y, m in (n.split(".") for n in names)]

    assert months == list(range(months[0], months[0] + len(months)))
    assert len({release.server for release in all_releases()}) == len(names)


def test_the_july_2025_release_breaks_the_count_of_minors():
    assert find_release("25.07").server == "2.59.1"
    assert find_release("25.08").server == "2.60.0"


def test_a_version_is_given_only_with_its_evidence():
    for release in all_releases():
        assert (release.tensorrt is None) == (release.tensorrt_evidence == "unknown")


def test_the_table_of_releases_counts_open_cves(kit):
    lines = kit("releases").stdout.splitlines()
    newest = json.loads(kit("releases", all_releases()[-1].release, "--json").stdout)
    old = kit("releases", "2.51").stdout

    assert lines[0].endswith("ONNX Runtime  CUDA     driver   open CVEs")
    assert lines[1].split()[-3:-1] == ["12.4", "545"]
    assert len(lines) == len(all_releases()) + 2
    assert newest[0]["open_cves"] == []
    assert "CVE-2025-23316" in old
    assert "driver        560 or later" in old
    assert "compute capability 6.0 or later" in old


def test_an_unknown_release_gets_a_suggestion(kit):
    result = kit("releases", "26.66")

    assert result.exit_code == 2
    assert "26.06" in result.stderr


def test_open_cves_are_those_fixed_later():
    assert "CVE-2025-23316" in open_cves(find_release("24.10"))
    assert "CVE-2024-0087" not in open_cves(find_release("24.10"))
    assert open_cves(all_releases()[-1]) == []


def test_an_unknown_release_gets_the_nearest():
    with pytest.raises(SpecError, match="unknown Triton release"):
        find_release("24.13")


def test_the_python_of_every_release_is_one_that_packages_are_packed_for():
    assert {release.python for release in all_releases()} == {"3.10", "3.12"}
    assert find_release("24.10").python == "3.10"
    assert find_release("24.12").python == "3.12"


@pytest.mark.parametrize("name", ["29.12", "2.173", "2.173.1", "3.0"])
def test_a_newer_release_has_the_rules_of_the_newest_known_one(name, caplog):
    newest = all_releases()[-1]

    release = find_release(name)

    assert not release.is_known
    assert (release.release, release.server) == (name, newest.server)
    assert (release.tensorrt, open_cves(release)) == (None, [])
    require_flag("--http-max-input-size", release)
    with pytest.raises(SpecError, match="unknown Triton release"):
        known_release(name)


@pytest.mark.parametrize("name", ["23.10", "2.39", "1.99", "2.59.2", "24.13", "newest"])
def test_other_unknown_releases_are_refused(name):
    with pytest.raises(SpecError, match="unknown Triton release"):
        find_release(name)


def test_only_the_version_of_a_newer_server_names_no_container():
    assert find_release("29.11").image.endswith(":29.11-py3")
    with pytest.raises(SpecError, match="which container"):
        find_release("2.172").image  # noqa: B018


def test_every_command_that_takes_a_release_warns_of_a_newer_one(kit, tmp_path):
    repository = ROOT / "model_repository"
    image = ("--triton-image", "registry.example/tritonserver:new")
    for number, words in enumerate(
        (
            ("validate", repository),
            ("serve", repository, "--launcher", "docker", "--print"),
            ("image", repository, "-t", "digits:1", "--print"),
            ("deploy", repository, "--to", "compose", "-o", tmp_path / "out", *image),
        )
    ):
        name = f"30.{number + 1:02}"
        result = kit(*words, "--release", name)
        assert result.exit_code == 0, result.output
        assert f"Triton {name} is newer than this kit knows" in result.stderr
