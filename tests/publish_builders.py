"""Repositories to publish, and publishers that die at a chosen system call."""

import ctypes
import os
import signal
import warnings

from triton_kit.publish_delivery import PublishOptions
from triton_kit.publishing import publish
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.publish.layout import versions
from triton_kit.repository.publish.manifest import is_whole
from triton_kit.repository.publish.transaction import recover
from triton_kit.repository.publish.verify import verify

# Of a config that a server accepts; the batch size tells two apart.
CONFIG = """backend: "python"
max_batch_size: {size}
input {{ name: "x" data_type: TYPE_FP32 dims: [ 1 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 1 ] }}
"""
CODE = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [pb_utils.Tensor("y", request.inputs()[0].as_numpy() * {factor})]
            )
            for request in requests
        ]
"""
PLAIN = PublishOptions(scratch_load=False, smoke=False, lock_within_s=600)
_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_EXIT_KILL = 0x100000


def write_model(folder, factor, *, size=8):
    """Write a model's folder with one version that multiplies by `factor`."""
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(CONFIG.format(size=size))
    (folder / "1" / "model.py").write_text(CODE.format(factor=factor))
    return folder


def publish_factor(folder, root, name, factor, **words):
    """Publish a model that multiplies; return its version."""
    source = write_model(folder / f"{name}-{factor}" / name, factor)
    words.setdefault("options", PLAIN)
    return publish(source, root, **words).models[0].version


def assert_sound(root):
    """Finish what a killed publisher left; nothing in the repository is wrong then."""
    recover(root)
    report = verify(root)
    assert report.is_intact, report.problems
    assert check_repository(root).accepted, check_repository(root).findings
    stages = root.parent / f".{root.name}.triton-kit" / "stage"
    assert not stages.exists() or not list(stages.iterdir())


def half_versions(root):
    """Return the versions that a reader sees now without all of their files."""
    models = [model for model in root.iterdir() if model.is_dir()]
    folders = [m / str(n) for m in models for n in versions(m)]
    return [f for f in folders if not is_whole(f)] + [
        model for model in models if not (model / "config.pbtxt").is_file()
    ]


def stops_of(work, *, kill_at=None, at_stop=lambda: None):
    """Do `work` in a child that stops before and after each system call.

    Args:
        work: a function.
        kill_at: the stop at which the child is killed, from 0; None: it ends.
        at_stop: called at each stop.

    Returns:
        How many stops there were; None where the kernel forbids to trace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with warnings.catch_warnings():  # threads of other tests may live
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            if libc.ptrace(_TRACEME, 0, 0, 0) != 0:
                os._exit(77)
            os.kill(os.getpid(), signal.SIGSTOP)
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        return None
    libc.ptrace(_SETOPTIONS, child, 0, _EXIT_KILL)
    stops = 0
    while True:
        if stops == kill_at:
            os.kill(child, signal.SIGKILL)
        libc.ptrace(_SYSCALL, child, 0, 0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSTOPPED(status):
            assert kill_at is not None or status == 0, status
            return stops
        at_stop()
        stops += 1
