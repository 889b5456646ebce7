"""The native onnxruntime backend is chosen where it works; else a reason is given."""

import os
import shutil
import subprocess
import sys

import pytest

from triton_kit.errors import ServerError
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend

COMPILER = """#!/bin/sh
[ "$1" = --version ] && { echo "broken 1.0"; exit 0; }
echo "native/common.c:1:1: error: this compiler is broken" >&2
exit 1
"""
SILENT_COMPILER = "#!/bin/sh\nexit 0\n"
CHOOSE = """
import sys
from pathlib import Path
from triton_kit.serving.onnxruntime_backend import choose_onnxruntime_backend
sys.stdin.readline()
print(choose_onnxruntime_backend("native", cache=Path(sys.argv[1])).library)
"""


@pytest.fixture
def compiler():
    """The C compiler; skips where there is none."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler is installed")
    return found


@pytest.fixture
def only_on_path(tmp_path, monkeypatch):
    """Make a folder of programs and let PATH hold it alone."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name, content):
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)

    return add


@pytest.fixture
def other_onnxruntime(tmp_path, monkeypatch):
    """Put an `onnxruntime` with any file as its library in front of the real one."""

    def put(content):
        capi = tmp_path / "site" / "onnxruntime" / "capi"
        capi.mkdir(parents=True)
        (capi.parent / "__init__.py").write_text("")
        if content is not None:
            (capi / "libonnxruntime.so.1.0.0").write_bytes(content)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)

    return put


def test_without_a_compiler_the_python_backend_serves_and_says_so(
    tmp_path, only_on_path
):
    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.kind == "python"
    assert "no C compiler" in str(chosen)
    assert chosen.flags == []


@pytest.mark.usefixtures("only_on_path")
def test_native_without_a_compiler_names_what_to_install(tmp_path):
    with pytest.raises(ServerError, match="no C compiler") as caught:
        choose_onnxruntime_backend("native", cache=tmp_path / "cache")

    assert "apt-get install gcc" in caught.value.hint


def test_a_compiler_that_fails_is_quoted(tmp_path, only_on_path):
    only_on_path("cc", COMPILER)

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.kind == "python"
    assert "error: this compiler is broken" in chosen.why_python
    assert not list((tmp_path / "cache").glob("*.so"))


def test_a_compiler_that_writes_nothing_is_named(tmp_path, only_on_path):
    only_on_path("cc", SILENT_COMPILER)

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.kind == "python"
    assert "wrote no library" in chosen.why_python


def test_an_onnxruntime_without_a_library_is_refused(tmp_path, other_onnxruntime):
    other_onnxruntime(None)

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.why_python == "the installed onnxruntime has no libonnxruntime.so"


def test_an_onnxruntime_that_does_not_load_is_refused(tmp_path, other_onnxruntime):
    other_onnxruntime(b"not a library")

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.kind == "python"
    assert "libonnxruntime.so.1.0.0" in chosen.why_python


def test_an_onnxruntime_without_the_functions_is_refused(
    tmp_path, other_onnxruntime, compiler
):
    source = tmp_path / "old.c"
    source.write_text(
        "#include <stddef.h>\n"
        "static void *api(unsigned version) { return version > 15 ? NULL : &api; }\n"
        'static const char *version(void) { return "1.15.1"; }\n'
        "static struct { void *a, *b; } base = {api, version};\n"
        "void *OrtGetApiBase(void) { return &base; }\n"
    )
    library = tmp_path / "old.so"
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library], check=True)
    other_onnxruntime(library.read_bytes())

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "cache")

    assert chosen.why_python == "onnxruntime 1.15.1 has no C API 16"


@pytest.mark.usefixtures("compiler")
def test_a_cache_that_cannot_be_written_falls_back_to_python(tmp_path):
    (tmp_path / "file").write_text("")

    chosen = choose_onnxruntime_backend("auto", cache=tmp_path / "file" / "cache")

    assert chosen.kind == "python"
    assert "cannot write the cache folder" in chosen.why_python


def test_python_is_taken_where_it_is_asked_for(tmp_path):
    chosen = choose_onnxruntime_backend("python", cache=tmp_path)

    assert (chosen.kind, str(chosen)) == ("python", "python")


@pytest.mark.usefixtures("compiler")
def test_processes_that_compile_at_once_agree(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CHOOSE, tmp_path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ,
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    libraries = {process.communicate(timeout=120)[0].strip() for process in processes}

    assert [process.returncode for process in processes] == [0] * 3
    assert len(libraries) == 1
    assert [str(path) for path in tmp_path.glob("*.so")] == list(libraries)
    assert not list(tmp_path.glob(".compile-*"))


@pytest.mark.usefixtures("compiler")
def test_it_is_compiled_once(tmp_path):
    first = choose_onnxruntime_backend("native", cache=tmp_path)
    made = first.library.stat()

    second = choose_onnxruntime_backend("native", cache=tmp_path)

    assert second == first
    assert second.library.stat().st_mtime_ns == made.st_mtime_ns
    assert second.flags == [f"--backend-config=onnxruntime,library={first.onnxruntime}"]


@pytest.mark.usefixtures("compiler")
def test_other_flags_make_another_library(tmp_path, monkeypatch):
    first = choose_onnxruntime_backend("native", cache=tmp_path)
    monkeypatch.setenv("CFLAGS", "-O1 -g")

    second = choose_onnxruntime_backend("native", cache=tmp_path)

    assert second.library != first.library


@pytest.mark.usefixtures("compiler")
def test_it_compiles_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("CFLAGS", "-Wall -Wextra -Werror -Wshadow")

    assert choose_onnxruntime_backend("native", cache=tmp_path).kind == "native"
