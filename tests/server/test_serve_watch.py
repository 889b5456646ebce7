"""`triton-kit serve --watch`: changes are loaded, and a broken one changes nothing."""

import json
import queue
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.server

WITHIN_S = 30
CODE = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        value = np.array([[{value}]], np.float32)
        return [
            pb_utils.InferenceResponse([pb_utils.Tensor("y", value)]) for _ in requests
        ]
"""
WAITS = """
import pathlib
import time

pathlib.Path("{folder}", "began").touch()
while not pathlib.Path("{folder}", "go_on").exists():
    time.sleep(0.01)
"""
CONFIG = """backend: "python"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
ENSEMBLE = """platform: "ensemble"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling {
  step {
    model_name: "constant" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }
  }
}
"""


class Watched:
    """The command, with what it prints on standard error line by line."""

    def __init__(self, repository, *, meanwhile=lambda: None):
        argv = [sys.executable, "-m", "triton_kit", "serve", str(repository)]
        self.process = subprocess.Popen(
            [*argv, "--json", "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        meanwhile()
        self.url = json.loads(self.process.stdout.readline())["http_url"]
        self.await_line("watching ")

    def stop(self):
        self.process.terminate()
        code = self.process.wait(WITHIN_S)
        self.reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def _read(self):
        for line in self.process.stderr:
            self.lines.put(line.rstrip())

    def await_line(self, words):
        seen = []
        while True:
            try:
                line = self.lines.get(timeout=WITHIN_S)
            except queue.Empty:
                pytest.fail(f"no line with {words!r} after {seen}")
            if words in line:
                return line
            seen.append(line)

    def answer(self, model):
        """Return the value that a model responds with; None if it is not served."""
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0]}
        body = json.dumps({"inputs": [tensor]}).encode()
        try:
            url = f"{self.url}/v2/models/{model}/infer"
            with urllib.request.urlopen(url, body, timeout=WITHIN_S) as response:
                return json.load(response)["outputs"][0]["data"][0]
        except urllib.error.HTTPError:
            return None


@pytest.fixture(scope="module")
def watched(tmp_path_factory, write_model):
    """The command over `constant` and `chain`, which has it as its only step."""
    repository = tmp_path_factory.mktemp("watched") / "models"
    files = {"1/model.py": CODE.format(value=1)}
    write_model(repository, "constant", files, config=CONFIG)
    write_model(repository, "chain", {"1/.keep": ""}, config=ENSEMBLE)
    watched = Watched(repository)
    try:
        yield watched, repository
    finally:
        code = watched.stop()
    assert code == 0


def newest(repository):
    """Return the code that is served: of the newest version."""
    folders = (p for p in (repository / "constant").iterdir() if p.name.isdecimal())
    return max(folders, key=lambda p: int(p.name)) / "model.py"


def test_a_changed_model_is_loaded_and_its_ensemble_uses_it(watched):
    server, repository = watched

    newest(repository).write_text(CODE.format(value=2))
    server.await_line("loaded constant")

    assert (server.answer("constant"), server.answer("chain")) == (2, 2)


def test_a_new_version_is_served_and_a_broken_one_keeps_the_old(watched):
    server, repository = watched
    before = server.answer("constant")
    broken = repository / "constant" / "7" / "model.py"
    broken.parent.mkdir()
    broken.write_text("import a_package_that_is_nowhere\n" + CODE.format(value=3))

    line = server.await_line("constant: the server keeps what it has")

    assert "a_package_that_is_nowhere" in line
    assert server.answer("constant") == before
    broken.write_text(CODE.format(value=7))
    server.await_line("loaded constant")
    assert (server.answer("constant"), server.answer("chain")) == (7, 7)


def test_what_the_check_rejects_reaches_no_server(watched):
    server, repository = watched
    config = repository / "constant" / "config.pbtxt"
    before, text = server.answer("constant"), config.read_text()
    config.write_text(text[: len(text) // 2])  # as an editor that stopped leaves it

    server.await_line("constant: the server keeps what it has")

    assert server.answer("constant") == before
    config.write_text(text)
    server.await_line("loaded constant")


def test_new_folders_are_loaded_and_removed_ones_unloaded(watched, tmp_path):
    server, repository = watched
    shutil.copytree(repository / "constant", tmp_path / "second")
    shutil.copytree(tmp_path / "second", repository / "second")
    server.await_line("loaded second")
    assert server.answer("second") == server.answer("constant")

    shutil.rmtree(repository / "second")
    server.await_line("unloaded second")

    assert server.answer("second") is None


def test_half_a_file_is_not_loaded_while_it_grows(watched):
    """Each part is written within the time that a file must be quiet for."""
    server, repository = watched
    code = CODE.format(value=9).encode()
    with newest(repository).open("wb") as file:
        for start in range(0, len(code), 100):
            file.write(code[start : start + 100])
            file.flush()
            threading.Event().wait(0.4)

    assert server.await_line("constant").startswith("loaded")
    assert server.answer("constant") == 9


def test_a_change_while_the_server_starts_is_loaded(tmp_path, write_model):
    repository = tmp_path / "models"
    files = {"1/model.py": CODE.format(value=1)}
    write_model(repository, "constant", files, config=CONFIG)
    waits = WAITS.format(folder=str(tmp_path)) + CODE.format(value=0)
    write_model(repository, "waits", {"1/model.py": waits}, config=CONFIG)

    def change():
        deadline = time.monotonic() + 120
        while not (tmp_path / "began").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        newest(repository).write_text(CODE.format(value=12))
        (tmp_path / "go_on").touch()

    watched = Watched(repository, meanwhile=change)
    try:
        watched.await_line("loaded constant")
        assert watched.answer("constant") == 12
    finally:
        assert watched.stop() == 0


def test_another_control_mode_is_refused(kit, tmp_path, write_identity):
    write_identity(tmp_path, "identity")

    result = kit("serve", tmp_path, "--watch", "--model-control-mode", "poll")

    assert result.exit_code == 2
    assert "--watch and --model-control-mode poll" in result.stderr
