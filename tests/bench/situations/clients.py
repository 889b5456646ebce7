"""The load generators: how each is started, and what it says afterwards."""

import csv
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "perf"))

import tools  # noqa: E402

RATE = 100
SECONDS = 4


@dataclass(frozen=True)
class Client:
    """One load generator.

    `command` returns its arguments and environment for URLs and a folder; `read` what
    it left in the folder and printed: requests, errors, p99_ms, finding.
    """

    name: str
    command: object
    read: object
    most_urls: int = 1


def kit(urls, folder, *, protocol="http", load=None):
    words = ["perf", "-m", "m", "-i", protocol, "--warm-up", "0"]
    for url in urls:
        words += ["-u", url]
    words += load or ["--request-rate-range", str(RATE), "-p", str(SECONDS * 1000)]
    out = folder / "kit.json"
    return [sys.executable, "-m", "triton_kit", *words, "--json", str(out)], {}


def read_kit(folder, text):
    if not (folder / "kit.json").exists():
        return {"finding": last_line(text)}
    [run] = json.loads((folder / "kit.json").read_text())["runs"]
    kinds = {row["kind"]: row["count"] for row in run["errors_by_kind"]}
    return {
        "requests": run["requests"],
        "errors": run["errors"],
        "errors_by_kind": kinds,
        "retried": run["retried"],
        "p99_ms": run["latency_us"]["p99"] / 1000,
        "per_s": run["requests_per_s"],
        "servers": [{k: s[k] for k in ("url", "errors")} for s in run["servers"]],
        "finding": f"{run['verdict']['kind']}: {run['verdict']['reason']}".rstrip(": "),
        "findings": [f["kind"] for f in run["verdict"]["findings"]],
    }


def perf_analyzer(urls, folder, *, protocol="http", load=None):
    program, env = tools.perf_analyzer()
    windows = ["-p", str(SECONDS * 1000 // 3), "-r", "3", "-s", "900"]
    words = load or ["--request-rate-range", str(RATE), *windows]
    out = folder / "perf_analyzer.csv"
    return [program, "-m", "m", "-u", urls[0], "-i", protocol, *words, "-f", out], env


def read_perf_analyzer(folder, text):
    found = {"finding": last_line(text)}
    if path := next(folder.glob("perf_analyzer.csv"), None):
        with path.open() as lines:
            rows = list(csv.DictReader(lines))
        if rows:
            found["p99_ms"] = float(rows[0]["p99 latency"]) / 1000
            found["per_s"] = float(rows[0]["Inferences/Second"])
    if counted := re.search(r"Request count: (\d+)", text):
        found["requests"] = int(counted[1])
    failed = re.search(r"Failed to.*|.*[Ee]rror.*", text)
    if failed:
        found["finding"] = failed[0].strip()[:160]
    return found


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def environment(more):
    return os.environ | more


CLIENTS = (
    Client("triton-kit", kit, read_kit, most_urls=2),
    Client("perf_analyzer", perf_analyzer, read_perf_analyzer),
)
