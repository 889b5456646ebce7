"""The load generators: how each is started, and where it says its latencies."""

import csv
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import tools
from target import MODEL, WIDTHS

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """What is to be measured: a protocol and a number of requests in flight."""

    protocol: str
    concurrency: int

    @property
    def name(self):
        return f"{self.protocol} {self.concurrency}"


@dataclass(frozen=True)
class Job:
    """One command: `latencies` reads p50, p99 and mean in us from what it left behind.

    Where a program does not tell one of them, it is None.
    """

    argv: list
    env: dict
    latencies: object


def environment(**more):
    """Return this process's environment with `more`."""
    return os.environ | more


def url(server, protocol):
    """Return HOST:PORT."""
    return server.grpc_url if protocol == "grpc" else urlsplit(server.http_url).netloc


def perf_analyzer(case, server, folder, seconds, *, is_async):
    program, env = tools.perf_analyzer()
    out = folder / "out.csv"
    out.unlink(missing_ok=True)
    windows = max(3, round(seconds))
    argv = [program, "-m", MODEL, "-u", url(server, case.protocol)]
    argv += ["-i", case.protocol, *(["--async"] if is_async else [])]
    argv += ["--concurrency-range", f"{case.concurrency}:{case.concurrency}"]
    # The last three windows are always within 900 % of each other: no repetitions.
    argv += ["-p", str(round(seconds * 1000 / windows)), "-s", "900"]
    argv += ["-r", str(windows), "-f", str(out)]
    return Job(argv, environment(**env), lambda: csv_latencies(out))


def csv_latencies(path):
    """Return p50, p99 and mean in us, of perf_analyzer's CSV."""
    with path.open() as lines:
        row = next(csv.DictReader(lines))
    parts = ("Client Send", "Network+Server Send/Recv", "Server Queue")
    parts += ("Server Compute Input", "Server Compute Infer", "Server Compute Output")
    mean = sum(float(row[part]) for part in (*parts, "Client Recv"))
    return float(row["p50 latency"]), float(row["p99 latency"]), mean


def ours(case, server, folder, seconds, *, python=sys.executable):
    out = folder / "out.json"
    out.unlink(missing_ok=True)
    argv = [python, "-m", "triton_kit", "perf", "-m", MODEL]
    argv += ["-u", url(server, case.protocol), "-i", case.protocol]
    argv += ["--concurrency-range", str(case.concurrency), "--warm-up", "0.2"]
    argv += ["-p", str(round(seconds * 1000)), "--json", str(out)]
    return Job(argv, environment(), lambda: json_latencies(out))


def json_latencies(path):
    """Return p50, p99 and mean in us, of the kit's JSON."""
    [run] = json.loads(path.read_text())["runs"]
    if run["errors"]:
        raise RuntimeError(f"requests failed: {run['errors_by_kind']}")
    return tuple(run["latency_us"][name] for name in ("p50", "p99", "mean"))


def request(server):
    """Return one HTTP request of the kit's own making, head and body."""
    import numpy as np

    from triton_kit.loadtest.client.kserve_http import infer_request
    from triton_kit.triton.address import parse_address
    from triton_kit.triton.control_http import HttpControl

    address = parse_address(server.http_url, default_port=8000)
    model = HttpControl(address).model(MODEL)
    inputs = {"x": np.zeros((1, WIDTHS[0]), np.float32)}
    return infer_request(address, model, inputs, inferences=1).payload


def uvloop(case, server, folder, seconds, *, parser):
    """Return the same closed loop on uvloop."""
    body, out = folder / "request.bin", folder / "uvloop.json"
    body.write_bytes(request(server))
    argv = [sys.executable, str(HERE / "uvloop_client.py"), url(server, "http")]
    argv += [str(body), str(case.concurrency), str(seconds + 0.2), parser, str(out)]
    env = environment(**tools.uvloop())
    return Job(argv, env, lambda: (*json.loads(out.read_text())["latency_us"], None))


def wrk(case, server, folder, seconds):
    head, _, body = request(server).partition(b"\r\n\r\n")
    start, *fields = head.decode().split("\r\n")
    (folder / "body.bin").write_bytes(body)
    script = ['wrk.method = "POST"', 'local file = io.open("body.bin", "rb")']
    script += ['wrk.body = file:read("*a")']
    for field in fields:
        name, value = field.split(": ", 1)
        if name not in ("Host", "Content-Length"):
            script.append(f'wrk.headers["{name}"] = "{value}"')
    (folder / "request.lua").write_text("\n".join(script))
    argv = [tools.installed("wrk"), "-t1", f"-c{case.concurrency}", "--latency"]
    argv += [f"-d{round(seconds + 0.5)}s", "-s", "request.lua"]
    argv.append(f"http://{url(server, 'http')}{start.split()[1]}")
    return Job(argv, environment(), lambda: _wrk_latencies(folder / "client.log"))


def _wrk_latencies(path):
    text = path.read_text()
    if "Non-2xx" in text:
        raise RuntimeError("wrk: requests failed")
    found = dict(re.findall(r"(50|99)%\s+([\d.]+[a-z]+)", text))
    units = {"us": 1, "ms": 1e3, "s": 1e6}
    p50, p99 = (
        float(re.match(r"[\d.]+", found[share])[0])
        * units[re.search(r"[a-z]+", found[share])[0]]
        for share in ("50", "99")
    )
    return p50, p99, None


def h2load(case, server, folder, seconds, *, rate_hz):
    """Return h2load with as many requests as take about that long.

    It tells no quantiles. It is given a number, not a time, so that it ends with
    no call under way.
    """
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest(model_name=MODEL)
    message.inputs.add(name="x", datatype="FP32", shape=[1, WIDTHS[0]])
    message.raw_input_contents.append(bytes(4 * WIDTHS[0]))
    data = message.SerializeToString()
    (folder / "grpc.bin").write_bytes(b"\0" + len(data).to_bytes(4, "big") + data)
    argv = [tools.installed("h2load"), "-t1", "-c1", f"-m{case.concurrency}"]
    argv += ["-n", str(round(rate_hz * seconds * 1.5)), "-d", "grpc.bin"]
    argv += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    argv.append(f"http://{server.grpc_url}/inference.GRPCInferenceService/ModelInfer")
    return Job(argv, environment(), lambda: (None, None, None))
