"""What the tests of clusters share."""

import os
import time
from contextlib import contextmanager

import psutil

STORE_BYTES = 80_000_000
WITHIN_S = 180.0
SECONDS_AHEAD = 5_000
NETS = """
name: nets
models:
  first: {source: net.onnx, batching: {max_batch_size: 4}}
  second: {source: net.onnx, batching: {max_batch_size: 4}, precision: fp16}
targets:
  cpu: {}
  gpu: {format: plan, triton: "25.06", compute_capability: "9.0"}
"""


def eventually(holds):
    """Wait until something holds; a busy machine may take long."""
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it never held"
        time.sleep(0.1)


def processes_with(*words):
    """Return the processes whose command lines have all these words."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())  # empty of a zombie
        except psutil.Error:
            continue
        if line and all(word in line for word in words):
            found.append(process)
    return found


def processes_of_nodes(*words):
    """Return those of this session's cluster: others run on the machine at a time."""
    found = []
    for process in processes_with(*words):
        try:
            its_folder = process.environ().get("TMPDIR")
        except psutil.Error:
            continue
        if its_folder == os.environ["TMPDIR"]:
            found.append(process)
    return found


def lose(cluster, node):
    """End all processes of a node at once, as a machine without power does."""
    cluster.remove_node(node, allow_graceful=False)


def end_all(process):
    """Kill a process that was started here, and all that it started."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    for child in children:
        child.kill()
    process.kill()
    process.wait()


@contextmanager
def waiting_pass(nets, tmp_path, text):
    """Give the networks a pass `waits:wait`; yield the folder of its marks.

    `text` is its code; it waits until the folder has a file `go`, or is gone.
    """
    marks = tmp_path / "marks"
    marks.mkdir()
    (nets / "waits.py").write_text(text.format(marks=str(marks)))
    project = nets / "triton-kit.yaml"
    passes = '{passes: ["waits:wait"], source'
    project.write_text(project.read_text().replace("{source", passes))
    yield marks
    (marks / "go").touch()


def contents_of(folder):
    """Return the files of a folder by relative name, with their contents."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
