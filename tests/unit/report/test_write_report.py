"""Real results become reports in every format; what is no result is refused."""

import html
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from triton_kit.cli import main
from triton_kit.errors import SpecError
from triton_kit.report.document import shown
from triton_kit.report.page import read_asset
from triton_kit.report.perf_charts import perf_charts
from triton_kit.report.perf_rows import gather
from triton_kit.report.result_files import read_results
from triton_kit.report.write import render_report, write_report

RESULTS = Path(__file__).parents[2] / "browser" / "results"
KINDS = sorted(path.stem for path in RESULTS.glob("*.json"))
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u2028`|*"


@pytest.fixture
def change(tmp_path):
    """Write a changed copy of a result."""

    def write(kind, edit, name="changed.json"):
        content = json.loads((RESULTS / f"{kind}.json").read_text())
        edit(content)
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize(
    ("kind", "layout"),
    [
        *((kind, layout) for kind in KINDS for layout in ("html", "markdown", "text")),
        # Slow to draw: one of each.
        *(("convert-fp16", "png"), ("tune", "svg")),
    ],
)
def test_every_result_is_drawn_in_every_format(kind, layout, tmp_path):
    path = tmp_path / "out"

    write_report(RESULTS / f"{kind}.json", path, format=layout)

    content = path.read_bytes()
    starts = {"png": b"\x89PNG", "svg": b"<?xml", "html": b"<!doctype"}
    assert content.startswith(starts.get(layout, b""))
    assert len(content) <= 2e6


def test_the_summary_has_the_best_load():
    result = json.loads((RESULTS / "sweep.json").read_text())
    best = max(
        (run for run in result["runs"] if all(o["is_met"] for o in run["slo"])),
        key=lambda run: run["throughput"],
    )

    text = render_report([RESULTS / "sweep.json"], "text")

    assert f"{best['throughput']:,.0f} inferences/s" in text
    assert "meets p99<6ms" in text


def test_the_text_has_the_table_of_loads():
    result = json.loads((RESULTS / "sweep.json").read_text())

    lines = render_report([RESULTS / "sweep.json"], "text").splitlines()

    start = lines.index("All loads")
    rows = lines[start + 2 : start + 2 + len(result["runs"])]
    for row, run in zip(rows, result["runs"], strict=True):
        assert shown(run["throughput"]) in row
        assert run["verdict"]["kind"] in row


def test_the_command_that_repeats_a_result_measures_as_long(change):
    rule = {"kind": "windows", "window_s": 0.3, "tolerance": 0.05, "most_windows": 3}
    windows = {"measurement_interval_s": 0.3, "stability": rule, "repeats": 2}
    counted = {"request_count": 50, "warm_up_s": 0.0, "stability": None}
    first = change("one", lambda r: r["spec"].update(windows))
    second = change("one", lambda r: r["spec"].update(counted), "second.json")

    text = render_report([first, second], "text")

    assert "-p 300 -s 5 -r 3 --warm-up" in text
    assert "--repeat 2" in text
    assert "--request-count 50 --warm-up 0" in text


def test_the_cpu_of_the_server_is_what_perf_printed(change):
    cores = {"server_cores": 0.3125, "server_cpu_s": 9.9}

    text = render_report([change("one", lambda r: r["runs"][0].update(cores))], "text")

    assert "0.3125" in text


def resources(count):
    """Return points of a run whose server is not known and that has a GPU."""
    return [
        {
            "at_s": at_s,
            "client_cores": 0.0625,
            "foreign_cores": None,
            "server_cores": None,
            "server_memory_mib": None,
            "gpus": [{"gpu": "A", "utilization": 0.75, "memory_used_mib": 512.5}],
        }
        for at_s in range(1, count + 1)
    ]


def charts_over_time(*paths):
    charts = {c.title: c for c in perf_charts(gather(read_results(paths)))}
    return charts.get("CPU and GPU over time"), charts.get("Memory over time")


def test_resources_over_time_have_a_line_each(change):
    path = change("one", lambda r: r["runs"][0].update(resources=resources(2)))

    busy, memory = charts_over_time(path)

    assert [(s.name, list(s.x), list(s.y)) for s in busy.series] == [
        ("client", [1, 2], [0.0625, 0.0625]),
        ("GPU A", [1, 2], [0.75, 0.75]),
    ]
    assert [(s.name, list(s.y)) for s in memory.series] == [("GPU A", [512.5, 512.5])]
    assert "512.5" in render_report([path], "text")


def test_resources_of_several_loads_follow_one_another(change):
    def edit(result):
        result["runs"] = [
            {**run, "resources": resources(2)} for run in result["runs"][:2]
        ]

    busy, _ = charts_over_time(change("sweep", edit))

    [client, _] = busy.series
    assert list(client.x) == [1, 2, 2, 3, 4]
    assert list(client.y) == [0.0625, 0.0625, None, 0.0625, 0.0625]
    assert [mark.at for mark in busy.marks] == [0, 2]
    assert len(set(client.labels)) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_points_are_no_chart(change, count):
    path = change("one", lambda r: r["runs"][0].update(resources=resources(count)))

    assert charts_over_time(path) == (None, None)


def test_a_result_without_resources_is_drawn_without_their_charts(change):
    path = change("one", lambda r: r["runs"][0].pop("resources"))

    assert charts_over_time(path) == (None, None)


def test_more_than_eight_loads_have_no_resources_over_time(change):
    def edit(result):
        result["runs"] = 9 * [{**result["runs"][0], "resources": resources(2)}]

    assert charts_over_time(change("one", edit)) == (None, None)


def test_long_names_below_bars_are_short_in_the_page(change):
    load = {"kind": "open", "rate": 123456789.5, "distribution": "exponential-ly long"}
    path = change("one", lambda r: r["runs"][0].update(load=load))
    other = change("sweep", lambda _: None, "other.json")

    page = render_report([path, other], "html")

    assert "ticktext" in page


def test_the_best_settings_of_tune_may_be_the_default(change):
    def keep_default(result):
        result["best"] = result["baseline"]
        result["figures"]["best"] = {**result["figures"]["baseline"], "memory": 2**21}
        result["figures"]["baseline"]["memory"] = 2**20

    text = render_report([change("tune", keep_default)], "text")

    assert "default, the best" in text
    row = next(line for line in text.splitlines() if "memory (MiB)" in line)
    assert row.split()[-3:] == ["1", "2", "100"]


def test_a_picture_has_plain_numbers_at_logarithmic_axes():
    assert "mathdefault" not in render_report([RESULTS / "one.json"], "svg")


def test_the_page_names_no_address_of_another_host():
    page = render_report([RESULTS / "one.json"], "html")

    own = page.replace(read_asset("plotly-basic.min.js"), "")
    assert re.findall(r"""(?:src|href)=["'](?!#)""", own) == []
    policy = html.unescape(page.split('http-equiv="Content-Security-Policy"')[1])
    assert "default-src 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split("style-src")[0]


def _spoil(value):
    """Put markup into every text of a JSON value, but not into its keys or schema."""
    if isinstance(value, dict):
        keep = ("schema", "kind", "measured_at")
        return {k: v if k in keep else _spoil(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_spoil(each) for each in value]
    return f"{value}{EVIL}" if isinstance(value, str) else value


@pytest.mark.parametrize("kind", KINDS)
def test_markup_in_names_is_escaped(kind, change):
    def edit(content):
        content.update(_spoil(content))

    path = change(kind, edit)

    page = render_report([path], "html")
    own = page.replace(read_asset("plotly-basic.min.js"), "")
    assert "alert(1)" in own
    assert "<script>alert" not in own
    assert "<img" not in own
    text = re.sub(
        r"^````*.*?^````*$", "", render_report([path], "markdown"), flags=re.M | re.S
    )
    assert re.findall(r"(?<!\\)<", text) == []


def test_several_results_stand_side_by_side():
    text = render_report([RESULTS / "one.json", RESULTS / "sweep.json"], "markdown")

    assert "one: " in text
    assert "sweep: " in text


def test_a_folder_stands_for_every_result_in_it():
    page = render_report([RESULTS], "markdown")

    assert "## Load tests" in page
    assert "## Tuning of digits" in page
    assert "## Conversions" in page


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        (
            '{\n  "schema": "triton-kit.perf/2",\n  "runs": [',
            r"cut\.json:3:12: not JSON",
        ),
        ('{"schema": "other/7"}', "its schema is 'other/7'"),
        ("[1, 2]", "it names no schema"),
        ('{"schema": "triton-kit.perf/2", "spec": {}, "runs": [{}]}', r"runs\.0\."),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_result_is_refused_with_its_place(content, message, tmp_path):
    path = tmp_path / "cut.json"
    path.write_text(content)

    with pytest.raises(SpecError, match=message):
        render_report([path], "html")


def test_a_result_that_cannot_be_read_beside_others_is_named(tmp_path, caplog):
    (tmp_path / "good.json").write_text((RESULTS / "one.json").read_text())
    (tmp_path / "cut.json").write_text('{"schema": "triton-kit.perf/2",')
    (tmp_path / "later.json").write_text('{"schema": "triton-kit.perf/9"}')
    (tmp_path / "package.json").write_text('{"name": "of another program"}')

    page = render_report([tmp_path], "text")

    assert "good" in page
    named = [record.getMessage() for record in caplog.records]
    assert [Path(line.split(":")[0]).name for line in named] == [
        "cut.json",
        "later.json",
    ]
    assert all("the report leaves it out" in line for line in named)


def test_results_without_a_finished_load_are_drawn(change):
    path = change("one", lambda content: content.update(runs=[]))

    assert "No load was finished." in render_report([path], "text")
    assert "No load was finished." in render_report([path], "html")


def test_a_load_without_a_successful_request_is_drawn(change):
    def edit(content):
        for run in content["runs"]:
            run["errors"] = run["requests"]
            run["throughput"] = run["requests_per_s"] = 0.0

    path = change("failing", edit)

    assert "No request succeeded" in render_report([path], "html")


def test_a_thousand_loads_fit_into_a_small_page(change):
    def edit(content):
        run = content["runs"][0]
        content["runs"] = [
            {**run, "load": {"kind": "closed", "concurrency": n}}
            for n in range(1, 1001)
        ]

    path = change("sweep", edit)

    page = render_report([path], "html")
    assert len(page) <= 2e6
    assert "concurrency 1000" in page


def test_a_thousand_files_fit_into_a_small_page(tmp_path):
    content = (RESULTS / "one.json").read_text()
    for number in range(1000):
        (tmp_path / f"run-{number:04}.json").write_text(content)

    assert len(render_report([tmp_path], "html")) <= 2e6


def test_a_result_is_never_replaced_by_its_report(tmp_path):
    path = tmp_path / "result.json"
    path.write_text((RESULTS / "one.json").read_text())

    with pytest.raises(SpecError, match="would replace this result"):
        write_report(path, path, format="html")
    with pytest.raises(SpecError, match="would replace this result"):
        write_report(tmp_path, path, format="html")
    with pytest.raises(SpecError, match="it is a folder"):
        write_report(path, tmp_path, format="html")


def test_a_file_that_exists_is_replaced_as_a_whole(tmp_path):
    output = tmp_path / "report.md"
    output.write_text("old")

    assert write_report(RESULTS / "one.json", output) == output
    assert output.read_text().startswith("# Load test of read")


def test_an_unknown_suffix_names_the_known_ones(tmp_path):
    with pytest.raises(SpecError, match=r"\.pdf"):
        write_report(RESULTS / "one.json", tmp_path / "report.pdf")


def test_every_chart_is_drawn_by_matplotlib_too(change):
    def edit(content):
        for run in content["runs"]:
            run["gpus"] = [{"gpu": "GPU-1", "utilization": 0.5}]

    path = change("failing", edit)

    drawn = render_report([path], "svg")
    for title in ("Latency histogram", "Time per stage", "Errors by kind", "GPU"):
        assert title in drawn


def test_the_command_line_prints_text_and_writes_files(tmp_path):
    result = str(RESULTS / "convert-int8.json")
    output = tmp_path / "report.html"

    printed = CliRunner().invoke(main, ["report", result, "--format", "text"])
    written = CliRunner().invoke(main, ["report", result, "-o", str(output)])

    assert printed.output.startswith("Conversion of digits.onnx\n=====")
    assert written.exit_code == 0
    assert output.read_text().startswith("<!doctype html>")


def test_a_folder_that_cannot_be_written_is_an_error_of_usage(tmp_path):
    result = str(RESULTS / "convert-int8.json")

    outcome = CliRunner().invoke(
        main, ["report", result, "-o", str(tmp_path / "missing" / "report.html")]
    )

    assert outcome.exit_code == 2
    assert "No such file or directory" in outcome.output
