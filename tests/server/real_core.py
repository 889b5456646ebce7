"""The real tritonserver core as a judge: its backends are libraries that do nothing.

A verdict costs about a millisecond, needs no model file and no backend. What a backend
itself would say is not in it.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from triton_kit.process import start_service, stop

READY_WITHIN_S = 120
VERDICT_WITHIN_S = 10

NO_OP_BACKEND = """
#include <stdint.h>
void* TRITONBACKEND_ResponseNew(void** response, void* request);
void* TRITONBACKEND_ResponseSend(void* response, uint32_t flags, void* error);
void* TRITONBACKEND_RequestRelease(void* request, uint32_t flags);
__attribute__((visibility("default")))
void* TRITONBACKEND_ModelInstanceExecute(
    void* instance, void** requests, const uint32_t count)
{
  (void)instance;
  for (uint32_t i = 0; i < count; ++i) {
    void* response = 0;
    TRITONBACKEND_ResponseNew(&response, requests[i]);
    TRITONBACKEND_ResponseSend(response, 1, 0);
    TRITONBACKEND_RequestRelease(requests[i], 1);
  }
  return 0;
}
"""
BACKENDS = (
    *("dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch"),
    *("tensorflow", "tensorrt", "tensorrtllm", "vllm", "repeat", "square", "custom"),
)


# What a backend finds, or the Python backend's process: the core does not.
_BACKEND_RULE = re.compile(r"[MY]\d+|K13|K26")


def core_reason(report, model):
    """Return the first error of a model that the core itself would name."""
    return next(
        (
            finding
            for finding in report.errors
            if finding.model == model and not _BACKEND_RULE.fullmatch(finding.rule)
        ),
        None,
    )


@dataclass(frozen=True)
class Verdict:
    """What the server said of one model.

    `ending` is `aborted` or `hung` where it said nothing.
    """

    accepted: bool
    text: str
    ending: str = ""

    @property
    def reason(self):
        """The reason alone, without what the server writes around it."""
        bare = _WRAPPER.sub("", self.text)
        return bare.strip() if bare == self.text else bare.strip().removesuffix(";")


# What the server writes around the reason of a failure while it loads a model.
_WRAPPER = re.compile(
    r"^load failed for model '[^']*': "
    r"(?:version -?\d+ is at UNAVAILABLE state: [A-Z][A-Za-z ]+: )?"
)


def build_backends(folder):
    """Compile the no-op backend and put it under every backend's name."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    assert compiler, "the judge needs a C compiler: apt-get install gcc"
    folder.mkdir(parents=True)
    source, library = folder / "no_op.c", folder / "no_op.so"
    source.write_text(NO_OP_BACKEND)
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source)],
        check=True,
    )
    for name in BACKENDS:
        (folder / "backends" / name).mkdir(parents=True)
        shutil.copy(library, folder / "backends" / name / f"libtriton_{name}.so")
    return folder / "backends"


class RealCore:
    """A server with an empty repository that judges one small repository at a time."""

    def __init__(self, folder, backends, *, strict=False, extra=()):
        self.folder = folder
        self.repository = folder / "repository"
        self.log = folder / "server.log"
        self._backends = backends
        self._flags = ["--disable-auto-complete-config"] if strict else []
        self._flags += extra
        self._load_begins_at = 0
        self.repository.mkdir(parents=True)

    def __enter__(self):
        self._start()
        return self

    def __exit__(self, *_):
        self._stop()

    def judge(self, files, model):
        """Put `files` (path -> content; None: a folder) there and load `model`.

        A path may begin with the repository only: there is one case at a time.
        """
        self._fill(files)
        status, reply = self._load(model)
        if status is None:
            return Verdict(False, "", reply)
        if status == 200:
            self._unload(model)
            return Verdict(True, "")
        error, log = json.loads(reply)["error"], self._log_of_load()
        self._unload(model)
        return Verdict(False, reason(error, log, model))

    def config_of(self, files, model):
        """Return the completed config of a model that loads, as JSON."""
        self._fill(files)
        status, reply = self._load(model)
        assert status == 200, reply
        with urllib.request.urlopen(f"{self.url}/v2/models/{model}/config") as answer:
            config = json.load(answer)
        self._unload(model)
        return config

    def _fill(self, files):
        for path in self.repository.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, content in files.items():
            path = self.repository / name
            if content is None:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                is_text = isinstance(content, str)
                path.write_bytes(content.encode() if is_text else content)

    def _load(self, model):
        """Return status and reply; None and the ending of a server that gives none.

        That takes two: 24.10 also dies of unloading the case before, once in some 2,000
        times and after it has said that it is done.
        """
        for _ in range(2):
            self._load_begins_at = self.log.stat().st_size
            try:
                return self._post(f"/v2/repository/models/{model}/load", {})
            except (OSError, TimeoutError):
                ending = self._ending()
                self._stop()
                self._start()
        return None, ending

    def _ending(self):
        try:
            self.process.wait(VERDICT_WITHIN_S)
        except subprocess.TimeoutExpired:
            return "hung"
        return "aborted"

    def _unload(self, model):
        body = {"parameters": {"unload_dependents": True}}
        try:
            self._post(f"/v2/repository/models/{model}/unload", body)
        except (OSError, TimeoutError):
            self._stop()
            self._start()

    def _post(self, path, body):
        request = urllib.request.Request(
            self.url + path, data=json.dumps(body).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=VERDICT_WITHIN_S) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _log_of_load(self):
        with self.log.open("rb") as file:
            file.seek(self._load_begins_at)
            return file.read().decode(errors="replace")

    def _start(self):
        home = Path(find_spec("pytriton").origin).parent
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        argv = [
            str(home / "tritonserver" / "bin" / "tritonserver"),
            f"--model-repository={self.repository}",
            f"--backend-directory={self._backends}",
            "--model-control-mode=explicit",
            "--strict-readiness=false",
            "--http-address=127.0.0.1",
            f"--http-port={port}",
            "--http-thread-count=1",
            "--allow-grpc=false",
            "--allow-metrics=false",
            *self._flags,
        ]
        libraries = home.parent / "nvidia_pytriton.libs"
        self._context = start_service(
            argv,
            log=self.log,
            stop_within_s=5,
            env={
                "LD_LIBRARY_PATH": ":".join(
                    [str(libraries), os.environ.get("LD_LIBRARY_PATH", "")]
                ),
                "PATH": "/usr/bin:/bin",
            },
        )
        self.process = self._context.__enter__()
        deadline = time.monotonic() + READY_WITHIN_S
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "the server is not ready"
            time.sleep(0.02)

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"{self.url}/v2/health/live", timeout=1):
                return True
        except OSError:
            return False

    def _stop(self):
        stop(self.process, within_s=0)
        self._context.__exit__(None, None, None)


def reason(error, log, model):
    """Return why a load failed: from the reply, or where that hides it from the log."""
    if "failed to poll from model repository" not in error:
        return error
    found = re.findall(r"Poll failed for model directory '([^']*)': (.*)", log)
    own = [text for name, text in found if name == model]
    parser = re.findall(r"Error parsing text-format inference\.ModelConfig: .*", log)
    if parser:
        return parser[0]
    texts = own or [text for _, text in found]
    return unquoted(texts[0]) if texts else error


def unquoted(text):
    """Undo the escapes that the log's own quotes need."""
    text = text.removesuffix('"')
    return re.sub(r"\\(.)", r"\1", text)


@contextmanager
def real_core(folder, *, strict=False, extra=()):
    """Build the backends and start the judge."""
    backends = build_backends(folder / "build")
    with RealCore(folder / "core", backends, strict=strict, extra=extra) as core:
        yield core
