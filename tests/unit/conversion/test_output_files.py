"""Files at their place share nothing that somebody else may still change."""

import errno
import os
from dataclasses import replace

import pytest

from triton_kit.conversion.output_files import link_or_copy, publish_files
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.verify import original
from triton_kit.errors import SpecError


def test_a_second_name_is_the_same_file(tmp_path):
    (tmp_path / "a").write_bytes(b"model")

    link_or_copy(tmp_path / "a", tmp_path / "b")

    assert (tmp_path / "a").samefile(tmp_path / "b")


def test_between_two_disks_it_is_a_copy(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    (tmp_path / "a").write_bytes(b"model")
    monkeypatch.setattr(os, "link", refuse)
    publish_files([tmp_path / "a"], tmp_path / "there")

    assert (tmp_path / "there" / "a").read_bytes() == b"model"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["a"]


def test_what_a_killed_run_left_is_written_over(tmp_path):
    (tmp_path / "a").write_bytes(b"model")
    (tmp_path / ".a.partial").write_bytes(b"half")

    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a").write_bytes(b"new model")
    publish_files([tmp_path / "from" / "a"], tmp_path)

    assert (tmp_path / "a").read_bytes() == b"new model"
    assert not (tmp_path / ".a.partial").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_an_artifact_shares_no_file_with_source_or_cache(order, tmp_path, times):
    spec = order("cnn", cache=tmp_path / "cache")
    for _ in range(times):
        artifact = convert(spec).artifact

    (entry,) = [path for path in spec.cache.iterdir() if path.is_dir()]
    assert artifact.read_bytes() == (entry / artifact.name).read_bytes()
    assert not artifact.samefile(entry / artifact.name)
    assert not artifact.samefile(spec.source)
    assert artifact.stat().st_nlink == 1


def test_a_source_too_large_to_run_beside_its_passes_runs_after_them(
    order, tmp_path, monkeypatch
):
    spec = order("cnn")
    beside = convert(spec)
    monkeypatch.setattr(original, "_BESIDE_UP_TO_BYTES", 0)
    monkeypatch.setattr(original, "start_onnx", None)  # would be called

    after = convert(replace(spec, output=tmp_path / "after" / "model.onnx"))

    assert after.accuracy == beside.accuracy


@pytest.mark.parametrize("is_linked", [False, True])
@pytest.mark.parametrize("to", ["onnx", "plan"])
def test_the_source_is_never_written_over(order, tmp_path, is_linked, to):
    spec = order("cnn", format=to)
    before = spec.source.read_bytes()
    target = spec.output.with_suffix(".onnx")
    if is_linked:
        target.symlink_to(spec.source)
    else:
        target.write_bytes(before)
        spec = replace(spec, source=target)

    with pytest.raises(SpecError, match="written over it") as caught:
        convert(spec)

    assert "another output" in caught.value.hint
    assert target.read_bytes() == before
    assert target.is_symlink() == is_linked


def test_a_dry_run_beside_the_source_writes_nothing_over_it(order, tmp_path):
    spec = order("cnn", dry_run=True)
    spec.output.write_bytes(spec.source.read_bytes())

    result = convert(replace(spec, source=spec.output))

    assert any("nothing was written" in note for note in result.notes)
