"""The open loop: how late the requests leave, and whether all of them do."""

import json
import re
import statistics
import sys

import clients
import numpy as np
import tools
import watch
from target import MODEL

RATES = (1000, 2000, 5000)
_SETTLE_S = 0.5


def measure(server, counter, folder, rounds, seconds, say):
    """Yield all rows so far after each round: rate, client, and its schedule lag."""
    rows = []
    for number in range(rounds):
        for rate in RATES:
            for name, make in _contenders().items():
                job = make(server, folder, rate, seconds + 2)
                row = {"case": f"{rate}/s", "client": name, "round": number}
                row |= _one(job, server, counter, folder, seconds)
                rows.append(row)
                say(_line(row))
        yield rows


def _contenders():
    """Return name -> maker; perf_analyzer tells no Poisson times to hold it to."""
    makes = {}
    for distribution in ("constant", "poisson"):
        for flags in ((), ("--precise",), ("--real-time",)):
            name = " ".join(("triton-kit", distribution, *flags))
            makes[name] = lambda *at, d=distribution, f=flags: ours(
                *at, distribution=d, flags=f
            )
    for is_async in (False, True):
        name = f"perf_analyzer {'async' if is_async else 'sync'} constant"
        makes[name] = lambda *at, a=is_async: perf_analyzer(*at, is_async=a)
    return makes


def ours(server, folder, rate, seconds, *, distribution, flags=(), protocol="grpc"):
    """Return our open loop; its lag is its own record."""
    out = folder / "open.json"
    out.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "triton_kit", "perf", "-m", MODEL]
    argv += ["-u", clients.url(server, protocol), "-i", protocol]
    argv += ["--request-rate-range", str(rate), "--warm-up", "0.2"]
    argv += ["--request-distribution", distribution]
    argv += ["-p", str(round(seconds * 1000)), "--json", str(out), *flags]
    return clients.Job(argv, clients.environment(), lambda: _own_lag(out))


def _own_lag(path):
    [run] = json.loads(path.read_text())["runs"]
    lag = run["schedule_lag_us"]
    return {
        "lag_p50_us": lag["p50"],
        "lag_p99_us": lag["p99"],
        "achieved_per_s": run["requests_per_s"],
        "errors": run["errors"],
    }


def perf_analyzer(server, folder, rate, seconds, *, is_async, protocol="grpc"):
    """Return perf_analyzer's open loop; its lag is fitted from what it exports."""
    program, env = tools.perf_analyzer()
    out, table = folder / "export.json", folder / "out.csv"
    out.unlink(missing_ok=True)
    argv = [program, "-m", MODEL, "-u", clients.url(server, protocol)]
    argv += ["-i", protocol, *(["--async"] if is_async else [])]
    argv += ["--request-rate-range", str(rate), "--request-distribution", "constant"]
    # One window of so many requests: the export then holds every one of them.
    argv += ["--request-count", str(round(rate * seconds)), "-f", str(table)]
    argv += ["--profile-export-file", str(out)]
    return clients.Job(argv, clients.environment(**env), lambda: fitted_lag(out, rate))


def fitted_lag(path, rate):
    """Return how late requests left, after the most favourable fit of the start."""
    sent_ns, _ = exported(path)
    due_ns = np.arange(len(sent_ns)) * 1e9 / rate
    lag_us = (sent_ns - due_ns - (sent_ns - due_ns).min()) / 1e3
    length_s = (sent_ns[-1] - sent_ns[0]) / 1e9
    return {
        "lag_p50_us": float(np.quantile(lag_us, 0.5)),
        "lag_p99_us": float(np.quantile(lag_us, 0.99)),
        "achieved_per_s": (len(sent_ns) - 1) / length_s,
        "errors": 0,
    }


def exported(path):
    """Return when each request of an export left and was answered, in ns.

    The file is no valid JSON: it has the tensors' raw bytes in strings.
    """
    data = path.read_bytes()
    sent = [int(t) for t in re.findall(rb'"timestamp":(\d+)', data)]
    done = [int(t) for t in re.findall(rb'"response_timestamps":\[(\d+)', data)]
    if not sent or len(sent) != len(done):
        raise ValueError(f"an export of {len(sent)} requests, {len(done)} answers")
    order = np.argsort(sent, kind="stable")
    return np.array(sent)[order], np.array(done)[order]


def _one(job, server, counter, folder, seconds):
    try:
        window = watch.run(
            job.argv,
            env=job.env,
            server=server,
            counter=counter,
            window_s=seconds,
            settle_s=_SETTLE_S,
            log=folder / "client.log",
        )
        return window.as_json() | job.latencies()
    except (watch.NoLoadError, RuntimeError, OSError, KeyError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _line(row):
    what = f"round {row['round'] + 1}  {row['case']:8} {row['client']:32}"
    if "error" in row:
        return f"{what} {row['error']}"
    return (
        f"{what} lag p50 {row['lag_p50_us']:6.0f} us  p99 {row['lag_p99_us']:8.0f} us  "
        f"client {row['client_us']:5.0f} us  foreign {row['foreign_cores']:.2f}"
    )


def summary(rows):
    """Return one line of figures per rate and client: medians of the rounds."""
    groups = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault((row["case"], row["client"]), []).append(row)
    figures = ("lag_p50_us", "lag_p99_us", "achieved_per_s", "client_us")
    return {
        key: {
            name: statistics.median(run[name] for run in group)
            for name in (*figures, "foreign_cores")
        }
        | {"runs": len(group), "worst_p99_us": max(run["lag_p99_us"] for run in group)}
        for key, group in groups.items()
    }
