"""`scripts/bench situations`: what each load generator sees in twelve situations.

A small server of the KServe v2 protocol is put into each bad situation, and keeps its
own count. Every client sends 100 requests per second for four seconds. GOAWAY is sent
by a real nginx in front of a real tritonserver, to clients of gRPC. Writes
situations.json and a table; needs nginx.
"""

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import clients
from clients import CLIENTS

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from proxies import free_port, nginx
from target import MODEL, served
from tools import CACHE

HERE = Path(__file__).parent
LONGEST_S = 40
GOAWAY = "GOAWAY"
MEANINGS = {
    "stall": "the server stands still for 0.5 s, once",
    "overload": "the server answers 50 of 100 requests per second",
    "504s": "every tenth response is 504",
    "cold start": "the first 4 requests take 0.7 s",
    "hung server": "no response after 100 requests",
    "slow start": "503 for the first 2 s",
    "connection reset": "every 20th response is a reset",
    "one of two servers down": "one of them ends after 100 requests",
    "wrong input": "every response is 400",
    "429s": "every fifth response is 429",
    "server ends in the midst": "the server ends after 200 requests",
    GOAWAY: "nginx ends a connection after 1,000 requests",
}


@dataclass(frozen=True)
class Situation:
    """One situation, and what each of its servers does."""

    name: str
    servers: tuple = ()

    @property
    def modes(self):
        return self.servers or (self.name,)


SITUATIONS = (
    *(Situation(name) for name in ("stall", "overload", "504s", "cold start")),
    *(Situation(name) for name in ("hung server", "slow start", "connection reset")),
    Situation("one of two servers down", ("fine", "one of two servers down")),
    *(Situation(name) for name in ("wrong input", "429s", "server ends in the midst")),
)


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench situations")
    names = [*(situation.name for situation in SITUATIONS), GOAWAY]
    parser.add_argument("--only", choices=names, action="append")
    parser.add_argument(
        "--client", choices=[c.name for c in CLIENTS], action="append", dest="clients"
    )
    parser.add_argument("--requests", type=int, default=20_000, help="through nginx")
    parser.add_argument("--out", type=Path, default=CACHE.parent / "situations")
    return parser.parse_args()


@contextlib.contextmanager
def serving(situation, folder):
    """Run the servers of a situation; yield their URLs and logs."""
    with contextlib.ExitStack() as stack:
        urls, logs = [], []
        for number, mode in enumerate(situation.modes):
            port, log = free_port(), folder / f"server{number}.json"
            argv = [sys.executable, str(HERE / "server.py"), str(port)]
            process = subprocess.Popen([*argv, mode, str(log)])
            stack.callback(stop, process)
            urls.append(f"127.0.0.1:{port}")
            logs.append(log)
            wait_for(port)
        yield urls, logs


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for(port):
    import socket

    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens at port {port}")


def run(argv, env, folder, *, longest_s=LONGEST_S):
    """Run a client; return its exit code (None: it did not end), output and time."""
    log = folder / "client.log"
    began_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(map(str, argv)),
            stdout=output,
            stderr=output,
            cwd=folder,
            env=clients.environment(env),
        )
    try:
        code = process.wait(longest_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        code = None
    return code, log.read_text(errors="replace"), time.monotonic() - began_s


def measure(situation, client):
    """Return what a client saw in a situation, and what the server counted.

    None where the client takes fewer servers than there are.
    """
    if len(situation.modes) > client.most_urls:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(situation, folder) as (urls, logs):
            argv, env = client.command(urls, folder)
            code, text, took_s = run(argv, env, folder)
            saw = client.read(folder, text)
        truth = [json.loads(log.read_text()) for log in logs if log.exists()]
    return {"exit": code, "took_s": round(took_s, 1), **saw, "server": truth}


def measure_goaway(requests):
    """Return what clients of gRPC see of nginx's GOAWAY after 1,000 requests."""
    load = ["--concurrency-range", "64", "--request-count", str(requests)]
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "repository").mkdir()
        (folder / "nginx").mkdir()
        with served(folder / "repository", allocator="system") as server:
            location = f"location / {{ grpc_pass grpc://{server.grpc_url}; }}"
            directives = f"keepalive_requests 1000; {location}"
            with nginx(folder / "nginx", directives, listen="http2") as url:
                for client in CLIENTS:
                    argv, env = client.command(
                        [url], folder, protocol="grpc", load=load
                    )
                    argv = [MODEL if word == "m" else word for word in argv]
                    code, text, took_s = run(argv, env, folder, longest_s=300)
                    saw = client.read(folder, text)
                    rows[client.name] = {
                        "exit": code,
                        "took_s": round(took_s, 1),
                        **saw,
                    }
    return rows


def cell(row):
    """Return what a client saw, in a few words."""
    if row is None:
        return "takes one server only"
    code = row["exit"]
    words = [f"does not end ({LONGEST_S} s)" if code is None else f"exit {code}"]
    if row.get("errors") is not None:
        words.append(f"{row['errors']:,.0f} of {row['requests'] or 0:,.0f} failed")
    elif row.get("requests") is not None:
        words.append(f"{row['requests']:,.0f} requests")
    if row.get("p99_ms"):
        words.append(f"p99 {row['p99_ms']:,.0f} ms")
    if row.get("per_s") and code == 0:
        words.append(f"{row['per_s']:,.0f}/s")
    if "findings" in row:
        words.append(f"`{row['finding'].split(':')[0]}`")
    elif code != 0:
        words.append(row["finding"].split(". ")[0][:70])
    return ", ".join(words)


def table(results):
    names = [client.name for client in CLIENTS]
    lines = [
        "| situation | " + " | ".join(names) + " |",
        "|---" * (1 + len(names)) + "|",
    ]
    for situation, rows in results.items():
        cells = [cell(rows.get(name)) for name in names]
        what = MEANINGS[situation]
        lines.append(f"| {situation}: {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    document = options.out / "situations.json"
    # What is not measured again is kept.
    results = json.loads(document.read_text()) if document.exists() else {}
    for situation in SITUATIONS:
        if options.only and situation.name not in options.only:
            continue
        rows = results.setdefault(situation.name, {})
        for client in CLIENTS:
            if options.clients and client.name not in options.clients:
                continue
            rows[client.name] = measure(situation, client)
            print(situation.name, client.name, rows[client.name], flush=True)
    if not options.only or GOAWAY in options.only:
        results[GOAWAY] = measure_goaway(options.requests)
        print(GOAWAY, results[GOAWAY], flush=True)
    document.write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "situations.md").write_text(table(results))
    print(table(results))


main()
