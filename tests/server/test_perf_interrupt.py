import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

from triton_kit.loadtest.client.shared_memory import SharedMemory, SystemRegion
from triton_kit.loadtest.loops.load import ClosedLoad
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server

WITHIN_S = 60


def answered(loaded):
    """Requests to mlp that the server itself has counted."""
    url = f"{loaded.http_url}/v2/models/mlp/stats"
    with urllib.request.urlopen(url, timeout=10) as answer:
        stats = json.load(answer)["model_stats"][0]["inference_stats"]
    return stats["success"]["count"]


def wait_for_answers(process, loaded, count):
    """Wait until the server has answered a child so many requests."""
    deadline = time.monotonic() + WITHIN_S
    before = answered(loaded)
    while answered(loaded) < before + count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no load came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("signal_number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_signal_ends_the_load_with_its_table_and_json(
    loaded, tmp_path, signal_number, exit_code, processes
):
    path = tmp_path / "result.json"
    kit = Path(sys.executable).with_name("triton-kit")
    argv = [str(kit), "perf", "-m", "mlp", "-u", loaded.http_url, "-p", "600000"]
    argv += ["--concurrency-range", "4", "--warm-up", "0", "--json", str(path)]
    argv += ["--processes", processes]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for_answers(process, loaded, 50)
            os.kill(process.pid, signal_number)
            stdout, stderr = process.communicate(timeout=WITHIN_S)
        finally:
            process.kill()
    document = json.loads(path.read_text())
    [run] = document["runs"]

    assert process.returncode == exit_code
    assert "Traceback" not in stderr
    assert "interrupted: the last load was not measured to its end" in stdout
    assert "concurrency 4" in stdout
    assert document["was_interrupted"] is True
    assert run["requests"] > 0
    assert run["throughput"] > 0


def search(loaded, on_progress, **changes):
    asked = {"warm_up_s": 0, "measurement_interval_s": 0.4} | changes
    spec = PerfSpec(
        url=loaded.http_url,
        model="mlp",
        loads=(ClosedLoad(1), ClosedLoad(2), ClosedLoad(3)),
        slo=parse_slo("p99<60000ms"),
        search="until-missed",
        **asked,
    )
    return measure(spec, on_progress)


def ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def test_a_load_that_was_interrupted_is_not_what_a_search_finds(loaded):
    result = search(loaded, lambda progress: progress.index == 1 and ctrl_c())

    assert result.was_interrupted
    assert len(result.runs) == 2
    assert result.highest_load_met == "concurrency 1"


def test_a_load_that_was_interrupted_in_its_warm_up_has_no_figures(loaded):
    timers = []

    def interrupt_later(progress):
        """Count from the last that is heard of the first load."""
        if progress.index == 0:
            for timer in timers:
                timer.cancel()
            timers.append(threading.Timer(2.5, ctrl_c))
            timers[-1].start()

    try:
        result = search(loaded, interrupt_later, warm_up_s=5)
    finally:
        for timer in timers:  # one that is late would end the whole run of the tests
            timer.cancel()

    assert result.was_interrupted
    assert result.highest_load_met == "concurrency 1"
    assert result.runs[1].recording.total == 0


def test_a_second_ctrl_c_does_not_leave_memory_with_the_server(loaded):
    class Impatient(HttpControl):
        def unregister_memory(self, name):
            ctrl_c()
            super().unregister_memory(name)

    control = Impatient(PerfSpec(url=loaded.http_url, model="mlp").address)

    def share():
        with SharedMemory(SystemRegion(control), output_bytes=64) as memory:
            memory.place_input(b"1234")
            memory.register()

    with pytest.raises(KeyboardInterrupt):
        share()

    url = f"{loaded.http_url}/v2/systemsharedmemory/status"
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert json.load(answer) == []
