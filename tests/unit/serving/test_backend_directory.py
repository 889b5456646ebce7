"""The cached backend directory: complete, whoever else makes it at the same time."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from triton_kit.errors import ServerError, SpecError
from triton_kit.files import cache_folder
from triton_kit.serving.backend_directory import compose_backend_directory
from triton_kit.serving.tritonserver import (
    check_numpy,
    check_stub,
    find_tritonserver,
)

COMPOSE = """
import sys
from dataclasses import replace
from pathlib import Path
from triton_kit.serving.backend_directory import compose_backend_directory
from triton_kit.serving.tritonserver import find_tritonserver
server = find_tritonserver()
sys.stdin.readline()
print(compose_backend_directory(server, cache=Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def tritonserver():
    return find_tritonserver()


def test_it_holds_both_backends_and_a_stub_that_runs(tmp_path, tritonserver):
    folder = compose_backend_directory(tritonserver, cache=tmp_path)

    stub = folder / "python" / "triton_python_backend_stub"
    assert stub.stat().st_mode & 0o111
    assert (folder / "python" / "libtriton_python.so").is_file()
    assert (folder / "onnxruntime" / "model.py").is_file()


def test_it_is_made_once(tmp_path, tritonserver):
    first = compose_backend_directory(tritonserver, cache=tmp_path)
    made = first.stat().st_ino

    second = compose_backend_directory(tritonserver, cache=tmp_path)

    assert second == first
    assert second.stat().st_ino == made
    assert list(tmp_path.iterdir()) == [first]


def test_a_damaged_one_is_replaced(tmp_path, tritonserver):
    folder = compose_backend_directory(tritonserver, cache=tmp_path)
    (folder / "onnxruntime" / "model.py").unlink()

    again = compose_backend_directory(tritonserver, cache=tmp_path)

    assert again == folder
    assert (folder / "onnxruntime" / "model.py").is_file()
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("relative", ["onnxruntime/model.py", "python/json.py"])
def test_changed_code_of_the_same_size_and_added_code_are_replaced(
    relative, tmp_path, tritonserver
):
    folder = compose_backend_directory(tritonserver, cache=tmp_path)
    path = folder / relative
    size = path.stat().st_size if path.exists() else 10
    path.write_bytes(b"#" * size)

    compose_backend_directory(tritonserver, cache=tmp_path)

    assert not path.exists() or path.read_bytes() != b"#" * size


@pytest.mark.parametrize("which", ["cache", "entry"])
def test_a_folder_that_others_can_write_is_refused(
    which, tmp_path, tritonserver, monkeypatch
):
    folder = compose_backend_directory(tritonserver, cache=tmp_path / "cache")
    (folder if which == "entry" else folder.parent).chmod(0o777)

    with pytest.raises(SpecError, match="other users can write to this cache"):
        compose_backend_directory(tritonserver, cache=tmp_path / "cache")
    monkeypatch.setenv("TRITON_KIT_SHARED_CACHE", "1")
    assert compose_backend_directory(tritonserver, cache=tmp_path / "cache") == folder


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to be root")
def test_a_cache_of_another_user_is_refused(tmp_path, tritonserver):
    os.chown(tmp_path, 65534, 65534)

    with pytest.raises(SpecError, match="another user owns this cache"):
        compose_backend_directory(tritonserver, cache=tmp_path)


def test_a_new_cache_is_for_this_user_only(tmp_path, tritonserver):
    compose_backend_directory(tritonserver, cache=tmp_path / "cache")

    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


def test_processes_that_make_it_at_once_agree(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", COMPOSE, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0] * 6, ends
    folders = {stdout.strip() for stdout, _ in ends}
    assert len(folders) == 1
    assert [str(path) for path in tmp_path.iterdir()] == list(folders)


def test_a_cache_that_cannot_be_written_is_named(tmp_path, tritonserver):
    (tmp_path / "file").write_text("")

    with pytest.raises(ServerError, match="cache folder") as caught:
        compose_backend_directory(tritonserver, cache=tmp_path / "file" / "cache")

    assert "XDG_CACHE_HOME" in caught.value.hint


def test_the_cache_is_where_xdg_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert cache_folder() == tmp_path / "triton-kit"


def test_without_the_wheel_the_extra_is_named():
    code = (
        "import sys; sys.path = [p for p in sys.path if 'site-packages' not in p]\n"
        "sys.path.insert(0, '.')\n"
        "from triton_kit.errors import MissingExtraError\n"
        "from triton_kit.serving.tritonserver import find_tritonserver\n"
        "try:\n    find_tritonserver()\nexcept MissingExtraError as e:\n    print(e)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert "pip install 'triton_kit[embedded]'" in ended.stdout


def test_a_python_backend_that_cannot_start_is_reported_at_once(tmp_path, tritonserver):
    stub = tmp_path / "stub"
    stub.write_text(
        "#!/bin/sh\n"
        "echo stub: error while loading shared libraries: libpython3.so: gone >&2\n"
        "exit 127\n"
    )
    stub.chmod(0o755)

    with pytest.raises(ServerError, match=r"libpython3\.so") as caught:
        check_stub(replace(tritonserver, stub=stub), "3.12")

    assert "apt-get install libpython3.12" in caught.value.hint


def test_a_numpy_that_empties_outputs_is_refused():
    with pytest.raises(ServerError, match=r"cannot use NumPy 2\.5\.2") as caught:
        check_numpy("2.5.2")

    assert caught.value.hint == "pip install 'numpy<2'"


def test_this_numpy_is_good():
    assert check_numpy("1.26.4") is None


def test_this_pythons_stub_starts(tritonserver):
    assert check_stub(tritonserver, "3.11") is None
