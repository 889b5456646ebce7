"""The closed loop: the same number of requests in flight from every client."""

from functools import partial

import clients
import tools
import watch
from clients import Case

CASES = [Case(p, n) for p in ("grpc", "http") for n in (1, 16, 64)]
_SETTLE_S = 0.5
# perf_analyzer needs three windows; the load outlasts the measured one.
_MORE_S = 1.2


def contenders(case, rates, beside=None):
    """Return name -> how to make the job, for what can be measured here.

    `beside` is the interpreter of another triton-kit: only the two are compared then.
    """
    if beside:
        return {
            "triton-kit": clients.ours,
            "the other": partial(clients.ours, python=beside),
        }
    makes = {
        "perf_analyzer sync": lambda *at: clients.perf_analyzer(*at, is_async=False),
        "perf_analyzer async": lambda *at: clients.perf_analyzer(*at, is_async=True),
        "triton-kit": clients.ours,
    }
    if case.protocol == "http":
        for parser in ("httptools", "kit"):
            makes[f"uvloop, {parser} parser"] = lambda *at, parser=parser: (
                clients.uvloop(*at, parser=parser)
            )
        if tools.installed("wrk"):
            makes["wrk"] = clients.wrk
    elif tools.installed("h2load") and case in rates:
        # After the first round, when it is known how many requests fill the time.
        makes["h2load"] = lambda *at: clients.h2load(*at, rate_hz=rates[case])
    return makes


def measure(server, counter, folder, rounds, seconds, say, *, cases=CASES, beside=None):
    """Yield all rows so far after each round; one row per run, failed ones too.

    One more round comes first and does not count: it warms the server up, and tells
    how many requests h2load needs.
    """
    rows, rates = [], {}
    for number in range(-1, rounds):
        for case in cases:
            for name, make in _turned(contenders(case, rates, beside), number):
                if number < 0 and name != "triton-kit":
                    continue
                row = _one(make, case, server, counter, folder, seconds)
                row |= {"case": case.name, "client": name, "round": number}
                if name == "triton-kit" and "requests_per_s" in row:
                    rates[case] = row["requests_per_s"]
                if number >= 0:
                    rows.append(row)
                    say(_line(row))
        yield rows


def _turned(contenders, by):
    """Begin each round with another client, so that none always follows the same."""
    names = list(contenders)
    by = max(by, 0) % len(names)
    return [(name, contenders[name]) for name in names[by:] + names[:by]]


def _one(make, case, server, counter, folder, seconds):
    job = make(case, server, folder, seconds + _MORE_S)
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
        p50, p99, mean = job.latencies()
    except (watch.NoLoadError, RuntimeError, OSError, KeyError, ValueError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return window.as_json() | {"p50_us": p50, "p99_us": p99, "mean_us": mean}


def _line(row):
    what = f"round {row['round'] + 1}  {row['case']:8} {row['client']:26}"
    if "error" in row:
        return f"{what} {row['error']}"
    return (
        f"{what} {row['requests_per_s']:8.0f}/s  client {row['client_us']:6.1f} us  "
        f"foreign {row['foreign_cores']:.2f}"
    )
