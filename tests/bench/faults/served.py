"""Publishing under load, and bad versions, with a real server."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

from publish_builders import CODE, CONFIG, assert_sound, publish_factor
from triton_kit.errors import ServerError
from triton_kit.publish_checks import LiveServer
from triton_kit.publish_delivery import PublishOptions
from triton_kit.publishing import publish, rollback
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

RATE_HZ = 60
_LAST_S = 3.0


@contextmanager
def serving(root):
    spec = ServeSpec(
        repository=root,
        model_control="explicit",
        models=("*",),
        stop_within_s=5,
        access=Access(open_control=True),
    )
    with running(spec) as server:
        yield server


def options(server, **words):
    return PublishOptions(server=LiveServer(url=server.http_url), **words)


class Reader(threading.Thread):
    """Asks for the newest version again and again; notes which one responds."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.seen, self.failed = url, [], 0
        self.is_done = threading.Event()

    def run(self):
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
        body = json.dumps({"inputs": [tensor]}).encode()
        while not self.is_done.wait(0.02):
            try:
                with urllib.request.urlopen(self.url, body, timeout=60) as response:
                    self.seen.append(int(json.load(response)["model_version"]))
            except OSError:
                self.failed += 1


@contextmanager
def loaded(server, result):
    """Keep `RATE_HZ` requests per second on the server, with perf."""
    words = ["-m", "triton_kit", "perf", "-m", "m", "-u", server.http_url, "-q"]
    words += ["--request-rate-range", str(RATE_HZ), "--measurement-interval", "600000"]
    words += ["--json", str(result)]
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    time.sleep(_LAST_S)
    try:
        yield
        time.sleep(_LAST_S)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def under_load(folder, *, seed, count=25):
    """Publish, and roll back each fifth time, under a constant rate of requests."""
    del seed
    root, result = folder / "models", folder / "perf.json"
    publish_factor(folder, root, "m", 1)
    rollbacks = 0
    with serving(root) as server:
        reader = Reader(f"{server.http_url}/v2/models/m/infer")
        with loaded(server, result):
            reader.start()
            for number in range(1, count + 1):
                if number % 5 == 0:
                    rollback(root, "m", options=options(server))
                    rollbacks += 1
                else:
                    publish_factor(
                        folder, root, "m", number + 1, options=options(server)
                    )
        reader.is_done.set()
        reader.join()
    assert_sound(root)
    [run] = json.loads(result.read_text())["runs"]
    seen = reader.seen
    assert run["errors"] == 0, run["errors_by_kind"]
    assert reader.failed == 0, reader.failed
    assert seen == sorted(seen), "an older version responded after a newer one"
    assert run["requests_per_s"] >= 50, run["requests_per_s"]
    return (
        f"{count - rollbacks} publishes and {rollbacks} rollbacks at "
        f"{run['requests_per_s']:.0f} requests/s: 0 of {run['requests_total']} failed; "
        f"{len(set(seen))} versions seen in {len(seen)} responses, only ever newer"
    )


def ready_code(server):
    try:
        url = f"{server.http_url}/v2/health/ready"
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def bad_versions(folder, *, seed, count=10):
    """Publish versions that do not load, with and without the scratch load."""
    del seed
    codes = {}
    for has_scratch in (True, False):
        place = folder / f"scratch-{has_scratch}"
        root = place / "models"
        publish_factor(place, root, "m", 1)
        with serving(root) as server:
            found = set()
            for number in range(count):
                source = place / f"bad-{number}" / "m"
                (source / "1").mkdir(parents=True)
                (source / "config.pbtxt").write_text(CONFIG.format(size=8))
                code = f"import a_package_that_is_nowhere_{number}\n"
                (source / "1" / "model.py").write_text(code + CODE.format(factor=2))
                try:
                    how = options(server, scratch_load=has_scratch)
                    publish(source, root, options=how)
                except ServerError:
                    found.add(ready_code(server))
            assert ready_model(server)
            codes[has_scratch] = found
        assert_sound(root)
    assert codes[True] == {200}, codes
    return (
        f"{count} bad versions: /v2/health/ready has {listed(codes[True])} with the "
        f"scratch load, {listed(codes[False])} without"
    )


def ready_model(server):
    return server.control.is_model_ready("m")


def listed(codes):
    return " and ".join(map(str, sorted(codes)))
