"""The results as Markdown: medians, spread, ratios, and the goals beside them."""

import math
import statistics
from collections import defaultdict

import openloop
from watch import QUIET_CORES

_ENOUGH = 3
RIVALS = ("perf_analyzer sync", "perf_analyzer async")

# Case -> least throughput and most CPU, against the better of perf_analyzer's modes.
GOALS = {
    "grpc 1": (1.0, 2 / 3),
    "grpc 16": (1.5, 1 / 4),
    "grpc 64": (2.0, 1 / 7),
    "http 16": (1.4, 1 / 3),
    "http 64": (1.7, 1 / 4),
}
LIMITS = {"http": "wrk", "grpc": "h2load"}
MOST_CPU_OF_LIMIT = 1.3


def markdown(results):
    """Return the whole report."""
    seen = results["environment"]
    parts = [
        "# `scripts/bench perf`",
        f"{seen['measured_at']}, {seen['cpus']} CPUs, {results['rounds']} interleaved "
        f"rounds, medians; the server's allocator: {seen['server_allocator']}; the "
        f"model's backend: {seen['model_backend']}; "
        f"instances of the model: {seen['model_instances']}"
        f"{', batches wait' if seen['batches_wait'] else ''}. "
        "Throughput is the server's own counter; CPU is user and system time of the "
        "client and its children, per request. `foreign` is how many cores others "
        "had: other processes, or other machines of the host (steal); where "
        f"{_ENOUGH} runs or more have less than {QUIET_CORES} of it, the medians are "
        "of those.",
    ]
    if closed := results.get("closed"):
        parts += [_closed(closed), _goals(closed), _agreement(closed)]
        parts.append(_failures(closed))
    if opened := results.get("open"):
        parts += [_open(opened), _failures(opened)]
    if stalls := results.get("stall"):
        parts += [_stalls(stalls), _failures(stalls)]
    return "\n\n".join(part for part in parts if part) + "\n"


def quiet(rows):
    """Return the runs that others disturbed least, by the rule in the report."""
    still = [row for row in rows if row["foreign_cores"] < QUIET_CORES]
    return still if len(still) >= _ENOUGH else rows


def grouped(rows):
    """Return (case, client) -> the runs to take medians of."""
    groups = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault((row["case"], row["client"]), []).append(row)
    return {key: quiet(group) for key, group in groups.items()}


def median(group, name):
    """Return the median of one figure, or None where nobody told it."""
    told = [row[name] for row in group if row[name] is not None]
    return statistics.median(told) if told else None


def _spread(group, name):
    values = [row[name] for row in group]
    middle = statistics.median(values)
    if len(values) < 2:
        return f"{middle:,.1f}" if middle < 100 else f"{middle:,.0f}"
    form = ",.1f" if max(values) < 200 else ",.0f"
    return f"{middle:{form}} ({min(values):{form}} to {max(values):{form}})"


def _closed(rows):
    head = ["case", "client", "requests/s", "p50 us", "p99 us"]
    head += ["client CPU us/request", "server CPU us/request", "foreign", "runs"]
    lines = []
    for (case, client), group in grouped(rows).items():
        latencies = [median(group, name) for name in ("p50_us", "p99_us")]
        lines.append(
            [
                case,
                client,
                _spread(group, "requests_per_s"),
                *("" if us is None else f"{us:,.0f}" for us in latencies),
                _spread(group, "client_us"),
                f"{median(group, 'server_us'):.0f}",
                f"{median(group, 'foreign_cores'):.2f}",
                str(len(group)),
            ]
        )
    lines.sort(key=lambda line: (line[0].split()[0], int(line[0].split()[1])))
    return "## Closed loop\n\n" + table(head, lines)


def _goals(rows):
    groups = grouped(rows)
    lines = []
    for case, (least, most) in GOALS.items():
        ours = groups.get((case, "triton-kit"))
        rivals = [groups[case, name] for name in RIVALS if (case, name) in groups]
        # A mode that hung in most rounds has no median to speak of.
        rivals = [runs for runs in rivals if len(runs) >= _ENOUGH] or rivals
        if not ours or not rivals:
            continue
        fastest = max(rivals, key=lambda rival: median(rival, "requests_per_s"))
        cheapest = min(rivals, key=lambda rival: median(rival, "client_us"))
        gains = _ratios(ours, fastest, "requests_per_s")
        costs = _ratios(ours, cheapest, "client_us")
        lines += [
            _goal(case, "throughput", gains, least=least),
            _goal(case, "client CPU", costs, most=most),
        ]
    for (case, client), group in groups.items():
        name = LIMITS[case.split()[0]]
        limit = groups.get((case, name))
        if client != "triton-kit" or not limit:
            continue
        costs = _ratios(group, limit, "client_us")
        figure = f"client CPU over {name}"
        lines.append(_goal(case, figure, costs, most=MOST_CPU_OF_LIMIT))
    return (
        "### Against the better of perf_analyzer's modes, and the C tools\n\n"
        "Ratios within a round, whose runs follow each other closely: their median and "
        "spread.\n\n"
        + table(["case", "figure", "goal", "measured", "spread", "rounds", ""], lines)
    )


def _ratios(ours, others, name):
    """Return one figure over another's, of every round that has both."""
    theirs = {row["round"]: row[name] for row in others}
    return [row[name] / theirs[row["round"]] for row in ours if row["round"] in theirs]


def _goal(case, figure, ratios, *, least=0.0, most=math.inf):
    goal = f">= {least:.2f}x" if least else f"<= {most:.2f}x"
    if not ratios:
        return [case, figure, goal, "", "", "0", _met(False)]
    middle = statistics.median(ratios)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    met = _met(least <= middle <= most)
    return [case, figure, goal, f"{middle:.2f}x", spread, str(len(ratios)), met]


def _agreement(rows):
    """Do the latencies fit the server's counter, and perf_analyzer's?"""
    groups = grouped(rows)
    lines = []
    for case in dict.fromkeys(case for case, _ in groups):
        ours, rival = groups.get((case, "triton-kit")), groups.get((case, RIVALS[0]))
        if not ours or not rival:
            continue
        lines.append([case, *(f"{_in_flight(group):.2f}" for group in (ours, rival))])
        for name in ("p50_us", "p99_us"):
            lines[-1].append(f"{median(ours, name) / median(rival, name):.2f}x")
    head = ["case", "triton-kit in flight", "perf_analyzer sync in flight"]
    return (
        "### Agreement\n\nIn flight is the server's count per second times the mean "
        "latency that the client tells: less than was asked for is waiting that it "
        "hides. Beside it p50 and p99 over perf_analyzer's; from 16 at once on they "
        "differ as the throughputs do.\n\n" + table([*head, "p50", "p99"], lines)
    )


def _in_flight(group):
    return statistics.median(
        row["requests_per_s"] * row["mean_us"] / 1e6 for row in group
    )


def _met(is_met):
    return "met" if is_met else "**missed**"


def _open(rows):
    head = ["rate", "client", "lag p50 us", "lag p99 us", "worst p99 us", "achieved/s"]
    head += ["client CPU us/request", "foreign", "runs"]
    lines = [
        [
            rate,
            client,
            f"{figures['lag_p50_us']:,.0f}",
            f"{figures['lag_p99_us']:,.0f}",
            f"{figures['worst_p99_us']:,.0f}",
            f"{figures['achieved_per_s']:,.1f}",
            f"{figures['client_us']:.0f}",
            f"{figures['foreign_cores']:.2f}",
            str(figures["runs"]),
        ]
        for (rate, client), figures in openloop.summary(rows).items()
    ]
    return (
        "## Open loop, gRPC\n\nGoal: lag p50 <= 50 us and p99 <= 300 us; p50 <= 15 us "
        "with `--precise`; `--real-time` needs CAP_SYS_NICE. perf_analyzer's lag is "
        "fitted from its export, with the start that flatters it most.\n\n"
        + table(head, lines)
    )


def _stalls(rows):
    head = ["client", "reported p99 ms", "true p99 ms", "reported / true"]
    lines = []
    groups = {}
    for row in rows:
        if "error" not in row:
            groups.setdefault(row["client"], []).append(row)
    for client, group in groups.items():
        reported, true = (
            statistics.median(row[name] for row in group) / 1e3
            for name in ("reported_p99_us", "true_p99_us")
        )
        ratios = [row["reported_to_true"] for row in group]
        shown = f"{min(ratios):.3g} to {max(ratios):.3g}"
        lines.append([client, f"{reported:.1f}", f"{true:.1f}", shown])
    return (
        "## The stall\n\nThe server is stopped for 0.5 s in a run of 4 s at 1,000 "
        "requests/s. Goal: the reported p99 is within 5 % of the true one. The truth "
        "is what independent probes waited; perf_analyzer's is recomputed from its own "
        "export, from the times its requests were due.\n\n" + table(head, lines)
    )


def _failures(rows):
    rounds = defaultdict(list)
    for row in rows:
        if "error" in row:
            what = " ".join([row.get("case", ""), row["client"]]).strip()
            why = " ".join(row["error"].split())[:300]
            rounds[what, why].append(str(row["round"] + 1))
    lines = [
        f"* {what}, round {', '.join(numbers)}: {why}"
        for (what, why), numbers in rounds.items()
    ]
    return "Runs that failed:\n\n" + "\n".join(lines) if lines else ""


def table(head, lines):
    """Return a Markdown table."""
    rule = ["---"] * len(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *lines])
