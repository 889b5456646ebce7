"""Children that crash, hang or run out of something: real ones, and what is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import onnx
import psutil
import pytest
from convert_networks import Builder, T, saved

from triton_kit.conversion.onnx.passes import simplify
from triton_kit.conversion.pipeline import convert
from triton_kit.conversion.spec import ConvertSpec
from triton_kit.conversion.tensorrt.engine import build_in_child
from triton_kit.errors import ConvertError

KIT = [sys.executable, "-m", "triton_kit"]
CRASHES = """
import ctypes, os, signal, time


def reads_nowhere(model):
    return ctypes.string_at(0)


def is_killed(model):
    os.kill(os.getpid(), signal.SIGKILL)


def asks_for_too_much(model):
    return bytearray(1 << 62)


def fills_the_disk(model):
    with open("/dev/full", "w") as file:
        file.write("x")


def leaves(model):
    os._exit(0)


def hangs(model):
    time.sleep(3600)


def returns_nothing(model):
    print("it talks, too")


def sends_telemetry(model):
    raise ValueError(f"telemetry off: {os.environ.get('ORT_DISABLE_TELEMETRY')}")


def keeps(model):
    print("it talks, too")
    return model
"""
needs_rtx = pytest.mark.skipif(
    find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed"
)


@pytest.fixture
def crashes(networks, tmp_path):
    """Makes a spec with a user's pass that does what its name says."""
    (tmp_path / "crash_passes.py").write_text(CRASHES)

    def make(name, **fields):
        return ConvertSpec(
            source=networks / "cnn.onnx",
            output=tmp_path / "out" / "model.onnx",
            passes=(f"crash_passes:{name}",),
            root=tmp_path,
            **fields,
        )

    return make


@pytest.mark.parametrize(
    ("name", "what", "hint"),
    [
        ("reads_nowhere", "killed by SIGSEGV", "crashed"),
        ("is_killed", "killed by SIGKILL", "out of memory"),
        ("asks_for_too_much", "MemoryError", "out of memory"),
        ("fills_the_disk", "No space left on device", "free some disk space"),
        ("leaves", "without a response", "end the process"),
        ("sends_telemetry", "telemetry off: 1", None),
        ("returns_nothing", "returned NoneType", None),
    ],
)
def test_a_pass_that_ends_its_process_is_reported(crashes, name, what, hint):
    spec = crashes(name)

    with pytest.raises(ConvertError) as caught:
        convert(spec)

    assert f"crash_passes:{name}" in caught.value.message
    assert what in caught.value.message
    assert (hint is None) or hint in caught.value.hint
    assert not spec.output.parent.exists()


def test_a_pass_that_hangs_stops_at_the_timeout(crashes):
    with pytest.raises(ConvertError, match="out of time") as caught:
        convert(crashes("hangs", timeout_s=3))

    assert "--timeout" in caught.value.hint


def test_simplifiers_stop_at_the_timeout(networks, tmp_path):
    model = onnx.load(networks / "cnn.onnx")

    with pytest.raises(ConvertError) as caught:
        simplify(model, scratch=tmp_path, timeout_s=0.01)

    assert caught.value.message == (
        "onnxslim failed: out of time; Polygraphy failed: out of time"
    )


def test_a_pass_may_print(crashes):
    assert convert(crashes("keeps")).artifact.is_file()


def outer_product(path):
    """float32 x (n) -> its largest product; takes 4 n^2 bytes on the way."""
    b = Builder()
    b.constant("zero", np.array([0], np.int64))
    b.constant("one", np.array([1], np.int64))
    both = b.op("MatMul", b.op("Unsqueeze", "x", "one"), b.op("Unsqueeze", "x", "zero"))
    b.op("ReduceMax", both, to="y", keepdims=0)
    return saved(b.model([("x", T.FLOAT, ["n"])], [("y", T.FLOAT, [])]), path)


@pytest.mark.parametrize(
    ("most", "words"),
    [
        ("500000", "Failed to allocate memory"),  # by the runtime: 1 TB
        ("500000000000", "Unable to allocate"),  # by us, for the sample
    ],
)
def test_too_little_memory_is_reported(tmp_path, most, words):
    source, out = outer_product(tmp_path / "outer.onnx"), tmp_path / "out"
    argv = ["prlimit", f"--as={6 << 30}", *KIT, "convert", source, "-o", out]

    done = subprocess.run(
        [*argv, "--shape", f"x:1,4,{most}"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode in (3, 4), done.stderr
    assert words in done.stderr
    assert "smaller shapes" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_disk_that_fills_up_at_any_point_leaves_nothing(networks, tmp_path):
    """A disk of a few kB, then of more: each time another write is the one that fails.

    A limit on the size of a file stands for the disk; the system refuses alike.
    """
    argv = [*KIT, "convert", networks / "cnn.onnx", "-o", tmp_path / "out"]
    argv += ["--precision", "int8", "--calibration", networks / "cnn.npz"]
    argv += ["--cache", tmp_path / "cache"]
    ended = {}
    for limit_kb in (1, 8, 22, 30):
        done = subprocess.run(
            ["prlimit", f"--fsize={limit_kb << 10}", *argv],
            # Python would leave the first part of a compiled module, and run it later.
            env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        ended[limit_kb] = done.returncode
        assert "Traceback" not in done.stderr
        assert done.returncode == 0 or "free some disk space" in done.stderr
        assert (tmp_path / "out").exists() == (done.returncode == 0)
        assert not list(tmp_path.glob("triton-kit-*"))
        assert not list((tmp_path / "cache").glob("*/*.onnx"))

    assert set(ended.values()) == {ConvertError.exit_code}, ended


SMALL_DISK = """
set -eu
mount -t tmpfs -o size={size} none "$1"
shift
export TMPDIR="{temporary}"
code=0; "$@" || code=$?
ls -A "{out}" >&2 2>/dev/null || echo "no folder" >&2
exit "$code"
"""


def can_mount():
    argv = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("full", ["output", "scratch"])
def test_a_disk_that_is_truly_full_leaves_nothing(networks, tmp_path, full):
    if not can_mount():
        pytest.skip("this user may mount no file system of its own")
    disk = tmp_path / "disk"
    disk.mkdir()
    out = disk / "out" if full == "output" else tmp_path / "out"
    script = SMALL_DISK.format(
        size="16k" if full == "output" else "64k",
        temporary=disk if full == "scratch" else tmp_path,
        out=out,
    )
    argv = ["unshare", "-Urm", "sh", "-c", script, "sh", disk, *KIT, "convert"]

    done = subprocess.run(
        [*argv, networks / "cnn.onnx", "-o", out],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == ConvertError.exit_code, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "no folder"


ABORTS = """
import tensorrt_rtx as trt


class Plugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild):
    def __init__(self):
        for base in Plugin.__bases__:
            base.__init__(self)
        self.plugin_name, self.plugin_version, self.plugin_namespace = NAME, "1", ""
        self.num_outputs = 1

    def get_capability_interface(self, kind):
        return self

    def clone(self):
        return Plugin()


class Creator(trt.IPluginCreatorV3One):
    def __init__(self):
        trt.IPluginCreatorV3One.__init__(self)
        self.name, self.plugin_version, self.plugin_namespace = NAME, "1", ""
        self.field_names = trt.PluginFieldCollection([])

    def create_plugin(self, name, fields, phase):
        return Plugin()


NAME = "MyPlugin"
creator = Creator()
trt.get_plugin_registry().register_creator(creator, "")
"""


@needs_rtx
def test_an_abort_in_tensorrt_is_reported_as_an_error(tmp_path):
    """RTX's parser aborts at a plugin of Python; so plugins never get that far."""
    (tmp_path / "aborting_plugin.py").write_text(ABORTS)
    node = onnx.helper.make_node("MyPlugin", ["x"], ["y"], domain="mine", name="p")
    model = Builder().model([("x", T.FLOAT, [2, 4])], [("y", T.FLOAT, [2, 4])])
    model.graph.node.append(node)
    model.opset_import.append(onnx.helper.make_opsetid("mine", 1))
    onnx.save(model, tmp_path / "plugin.onnx")
    order = {
        "backend": "rtx",
        "onnx": str(tmp_path / "plugin.onnx"),
        "engine": str(tmp_path / "engine"),
        "root": str(tmp_path),
        "profiles": [{}],
        "options": {"plugins": ["aborting_plugin"]},
    }

    with (
        contextlib.chdir(tmp_path),
        pytest.raises(ConvertError, match="killed by SIGABRT") as caught,
    ):
        build_in_child(order, timeout_s=120)

    assert "crashed" in caught.value.hint
    assert not (tmp_path / "engine").exists()


@contextlib.contextmanager
def converting(argv, temporary):
    """Start the kit; whatever becomes of it, nothing of it is left running."""
    mark = str(temporary)
    process = subprocess.Popen(
        [*KIT, "convert", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": mark},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for left in still_there(mark):
            left.kill()
        process.communicate()


def still_there(temporary):
    """Return the processes that inherited this folder for temporary files."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == temporary:
                found.append(process)
    return found


def children_of(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def wait_for_child(process, worker):
    """Wait until the kit runs a worker, and return it."""
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read().decode()
        for child in children_of(process.pid):
            with contextlib.suppress(psutil.Error):  # it is a zombie
                if child.name() == worker.rpartition(".")[2]:  # forked
                    return child
                if f"triton_kit.conversion.{worker}" in child.cmdline():
                    return child
        time.sleep(0.005)


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "worker",
    [
        "onnx.passes_worker",
        "workers.onnx_worker",
        "precision.ranges_worker",
        pytest.param("tensorrt.build_worker", marks=needs_rtx),
    ],
)
def test_a_stopped_conversion_leaves_no_file_and_no_process(
    networks, tmp_path, worker, ending
):
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    # So many that the workers can be seen at their work.
    images = np.random.default_rng(1).standard_normal((2048, 3, 32, 32), np.float32)
    np.savez(tmp_path / "many.npz", image=images)
    argv = [networks / "cnn.onnx", "-o", out, "--precision", "int8"]
    argv += ["--calibration", tmp_path / "many.npz", "--cache", tmp_path / "cache"]
    argv += ["--artifact", "rtx"] if find_spec("tensorrt_rtx") else []
    with converting(argv, temporary) as process:
        wait_for_child(process, worker)
        process.send_signal(ending)
        _, said = process.communicate(timeout=60)

        assert still_there(str(temporary)) == []
    assert process.returncode not in (0, -ending)
    assert b"Traceback" not in said
    assert not out.exists()
    assert not list(temporary.glob("triton-kit-*"))
    assert not [p for p in (tmp_path / "cache").iterdir() if p.suffix != ".lock"]


WAITS = """
import os, time


def wait(model):
    while not os.path.exists("go_on"):
        time.sleep(0.01)
    return model
"""


def test_a_waiting_build_continues_after_the_first_is_killed(networks, tmp_path):
    """Two kits, one cache, one order: the first is killed with the lock in hand.

    It cannot clean up; what it leaves must not be in the way of the second.
    """
    cache = tmp_path / "cache"
    (tmp_path / "waiting_pass.py").write_text(WAITS)
    argv = [networks / "cnn.onnx", "--pass", "waiting_pass:wait", "--cache", cache]
    temporary = [tmp_path / "first", tmp_path / "second"]
    for folder in temporary:
        folder.mkdir()
    with (
        contextlib.chdir(tmp_path),
        converting([*argv, "-o", tmp_path / "a"], temporary[0]) as first,
    ):
        wait_for_child(first, "onnx.passes_worker")
        with converting([*argv, "-o", tmp_path / "b"], temporary[1]) as second:
            wait_for_lock(second, temporary[1])
            first.kill()
            (tmp_path / "go_on").touch()
            _, said = second.communicate(timeout=120)
            assert second.returncode == 0, said

    assert not (tmp_path / "a").exists()
    assert (tmp_path / "b" / "model.onnx").is_file()
    (entry,) = [p for p in cache.iterdir() if p.suffix != ".lock"]
    assert (entry / "model.onnx").read_bytes() == (
        tmp_path / "b" / "model.onnx"
    ).read_bytes()


def wait_for_lock(process, folder):
    """Wait until the kit stands at the lock of the cache: it polls for it."""
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read().decode()
        if any(folder.glob("triton-kit-*")):
            return
        time.sleep(0.005)
