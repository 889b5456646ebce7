"""Files of results, where somebody asks for odd ones."""

import os
import stat
import threading

import pytest
from click.testing import CliRunner

from triton_kit.cli import main
from triton_kit.loadtest.results.export import _gpus
from triton_kit.loadtest.results.files import try_to_write, write_text


def test_a_file_is_replaced_whole_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "out.json"
    path.write_text("old")

    try_to_write(path)
    assert path.read_text() == "old"
    write_text(path, "new")

    assert path.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)

    try_to_write(link)
    write_text(link, "text")

    assert link.is_symlink()
    assert target.read_text() == "text"


def test_a_pipe_is_written_to(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()

    try_to_write(pipe)
    write_text(pipe, "text")
    reader.join(10)

    assert read == ["text"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("name", ["missing/out.json", "x" * 256])
def test_unwritable_files_are_reported_before_the_load(tmp_path, name):
    with pytest.raises(OSError, match=r"No such file|too long"):
        try_to_write(tmp_path / name)

    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json", "missing/out.json"], "--json missing/out.json cannot be written"),
        (["--json", "out", "-f", "./out"], "--json and -f are both out"),
        (["-f", "-"], "-f -: the table goes to standard output"),
    ],
)
def test_the_command_refuses_it_before_it_asks_the_server(
    tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(main, ["perf", "-m", "m", "-u", "127.0.0.1:1", *words])

    assert result.exit_code == 2
    assert said in result.output
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "words",
    [
        ["--input-data", "in", "--json", "./in"],
        ["--input-data", "x:in", "--json", "in"],
        ["--input-data", "m=x:in", "-f", "in"],
        ["--input-data", ".", "-f", "in"],
        ["--data-directory", ".", "-f", "in"],
        ["--request-intervals", "in", "--hdr-file", "in"],
    ],
)
def test_the_command_does_not_overwrite_its_inputs(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_text("1000\n")

    result = CliRunner().invoke(main, ["perf", "-m", "m", "-u", "127.0.0.1:1", *words])

    assert result.exit_code == 2
    assert "are both" in result.output
    assert (tmp_path / "in").read_text() == "1000\n"


class _Run:
    """A run in which a server with two GPUs was asked for its metrics."""

    metrics = tuple(
        {"name": name, "labels": {"gpu_uuid": gpu}, "mean": mean, "max": most}
        for name, mean, most in (
            ("nv_gpu_utilization", 1 / 6, 0.5),
            ("nv_gpu_power_usage", 81.25, 91.25),
            ("nv_gpu_memory_used_bytes", 1e9, 1000000005.0),
            ("nv_gpu_memory_total_bytes", 4e9, 4e9),
        )
        for gpu in ("GPU-a", "GPU-b")
    )


def test_the_csv_has_each_gpu_as_perf_analyzer_writes_it():
    assert list(_gpus(_Run()).values()) == [
        "GPU-a:0.166667;GPU-b:0.166667;",
        "GPU-a:81.25;GPU-b:81.25;",
        "GPU-a:1000000005;GPU-b:1000000005;",
        "GPU-a:4000000000;GPU-b:4000000000;",
    ]
