"""Loads of a triton-kit.yaml as options of `triton-kit perf`."""

import pytest
from click.testing import CliRunner

from triton_kit.cli import main
from triton_kit.cli.perf import command, named
from triton_kit.cli.perf.located import located
from triton_kit.cli.perf.spec import perf_spec
from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad
from triton_kit.project.load import load_project

PROJECT = """\
name: digits
models:
  digits: {source: digits.onnx}
loads:
  peak:
    model: digits
    url: gpu:8000
    rate: 200.5
    distribution: poisson
    batch_size: 4
    shapes: {x: [8, 8]}
    duration_s: 2.5
    warm_up_s: 0
    slo: [p99<20ms, errors<0.1%]
    input_data: data/test.npz
    options:
      seed: 7
      header: ["a:b", "c:d"]
      collect-metrics: true
  steps: {model: digits, concurrency: 1:3, slo: p99<1s, binary_search: true}
"""


@pytest.fixture
def project(tmp_path):
    def write(text=PROJECT):
        (tmp_path / "triton-kit.yaml").write_text(text)
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "test.npz").write_bytes(b"")
        return tmp_path

    return write


def spec(folder, *words):
    argv = ["--project", str(folder), *words]
    with command.make_context("perf", argv) as ctx:
        named.drop_replaced(ctx)
        with named.hiding_variables(ctx), located(ctx):
            return perf_spec(ctx.params)


def test_a_load_sets_the_options_of_perf(project):
    folder = project()
    found = spec(folder, "--load", "peak")

    assert (found.model, found.url, found.batch_size) == ("digits", "gpu:8000", 4)
    assert found.loads == (RateLoad(rate_hz=200.5, distribution="poisson", seed=7),)
    assert (found.measurement_interval_s, found.warm_up_s) == (2.5, 0)
    assert [o.text for o in found.slo] == ["p99<20ms", "errors<0.1%"]
    assert found.shapes == {"x": (8, 8)}
    assert found.input_data == str(folder / "data" / "test.npz")
    assert found.headers == {"a": "b", "c": "d"}
    assert found.metrics_url is not None


def test_options_on_the_command_line_take_precedence(project):
    words = ("-u", "localhost:9000", "-b", "8", "--load", "peak", "-p", "100")
    found = spec(project(), *words)

    assert (found.url, found.batch_size) == ("localhost:9000", 8)
    assert found.measurement_interval_s == 0.1
    assert found.loads[0].rate_hz == 200.5


def test_the_project_may_come_after_the_load(project):
    argv = ["--load", "steps", "--project", str(project())]
    with command.make_context("perf", argv) as ctx:
        found = perf_spec(ctx.params)

    assert found.loads == tuple(ClosedLoad(n) for n in (1, 2, 3))
    assert found.search == "binary"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("slo: p99<20", "triton-kit.yaml:6: objective 'p99<20' has no unit"),
        ("slo: [p99<1s, p98>1s]", "triton-kit.yaml:6: objective 'p98>1s' makes"),
        ("options: {sead: 5}", "triton-kit.yaml:6: perf has no option --sead"),
        ("options: {seed: x}", "triton-kit.yaml:6: options.seed: 'x' is not a valid"),
        ("batch_size: 4:1", "triton-kit.yaml:6: batch size '4:1'"),
        ("rate: 5:1", "triton-kit.yaml:6: request rate range '5:1' is empty"),
    ],
)
def test_a_value_that_perf_refuses_is_named_with_its_line(project, line, words):
    text = PROJECT.partition("  peak:")[0] + f"  peak:\n    {line}\n    model: digits\n"

    with pytest.raises(SpecError) as caught:
        spec(project(text), "--load", "peak")

    assert words in caught.value.message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rate: fast", "triton-kit.yaml:6: loads.peak.rate"),
        ("rate: 0", "triton-kit.yaml:6: loads.peak.rate"),
        ("concurency: 5", "triton-kit.yaml:6: unknown key 'concurency' in loads.peak"),
        ("concurrency: -1", "triton-kit.yaml:6: loads.peak.concurrency"),
        ("protocol: smtp", "triton-kit.yaml:6: loads.peak.protocol"),
        ("options: {seed: {a: 1}}", "options.seed: need a scalar"),
        ("{rate: 5, concurrency: 5", "a load is one of them"),
    ],
)
def test_a_load_that_cannot_be_is_refused_with_its_line(project, line, words):
    if line.startswith("{"):
        text = PROJECT.replace("rate: 200.5", "rate: 5\n    concurrency: 5")
    else:
        head = PROJECT.partition("  peak:")[0]
        text = f"{head}  peak:\n    {line}\n    model: digits\n"

    with pytest.raises(SpecError) as caught:
        load_project(project(text))

    assert words in str(caught.value)


def test_a_load_for_a_model_that_is_not_there_is_refused(project):
    text = PROJECT.replace("steps: {model: digits", "steps: {model: letters")

    with pytest.raises(SpecError, match=r"yaml:20: .*load 'steps' is for 'letters'"):
        load_project(project(text))


def test_a_project_without_a_load_is_refused(project, monkeypatch):
    folder = str(project())

    with pytest.raises(SpecError, match=r"--project .* has no effect without --load"):
        command.make_context("perf", ["--project", folder, "-m", "digits"])

    # The variable may be there for other commands.
    monkeypatch.setenv("TRITON_KIT_PROJECT", folder)
    with command.make_context("perf", ["-m", "digits"]) as ctx:
        assert perf_spec(ctx.params).model == "digits"


def test_an_unknown_load_is_named(project, tmp_path):
    with pytest.raises(SpecError, match="no load 'peek'") as caught:
        spec(project(), "--load", "peek")
    assert "'peak'" in caught.value.hint

    with pytest.raises(SpecError, match=r"triton-kit.yaml:1: the project has no loads"):
        spec(project(PROJECT.partition("loads:")[0]), "--load", "peak")

    with pytest.raises(SpecError, match="no such file"):
        spec(tmp_path / "data", "--load", "peak")


@pytest.mark.parametrize(
    ("load", "words", "expected"),
    [
        ("rate: 50", "--concurrency-range 4", "concurrency 4"),
        ("rate: 50, distribution: poisson", "-t 4", "concurrency 4"),
        (
            "rate: 50, options: {real-time: true, max-in-flight: 9}",
            "--concurrency-range 4",
            "concurrency 4",
        ),
        ("concurrency: 4", "--request-rate-range 50", "50/s constant"),
        ("rate: 20, distribution: poisson", "--request-rate-range 50", "50/s poisson"),
        ("rate: 50, duration_s: 2", "--stages 5/s:1s", "stage 5/s:1s"),
        ("options: {stages: '5/s:1s'}", "--request-rate-range 50", "50/s constant"),
        (
            "concurrency: 4, request_count: 9",
            "--periodic-concurrency-range 1:3",
            "concurrency 1 to 3",
        ),
    ],
)
def test_another_kind_of_load_on_the_command_line_replaces_it(
    project, load, words, expected
):
    text = PROJECT + f"  other: {{model: digits, {load}}}\n"
    found = spec(project(text), "--load", "other", *words.split())

    assert [str(load) for load in found.loads] == [expected]
    assert not found.real_time


def test_the_length_on_the_command_line_replaces_that_of_the_load(project):
    folder = project(
        PROJECT
        + "  counted: {model: digits, request_count: 9}\n"
        + "  timed: {model: digits, duration_s: 9, options: {max-trials: 5}}\n"
        + "  warm: {model: digits, options: {warmup-request-count: 9}}\n"
    )

    counted = spec(folder, "--load", "counted", "-p", "300")
    assert (counted.request_count, counted.measurement_interval_s) == (None, 0.3)
    timed = spec(folder, "--load", "timed", "--request-count", "5")
    assert (timed.request_count, timed.stability) == (5, None)
    warm = spec(folder, "--load", "warm", "--warm-up", "2")
    assert (warm.warm_up_requests, warm.warm_up_s) == (None, 2)


def test_an_environment_variable_names_the_load(project, monkeypatch):
    monkeypatch.setenv("TRITON_KIT_PERF_LOAD", "peak")
    monkeypatch.setenv("TRITON_KIT_PERF_PROJECT", str(project()))
    monkeypatch.setenv("TRITON_KIT_PERF_CONCURRENCY_RANGE", "4")

    with command.make_context("perf", []) as ctx:
        named.drop_replaced(ctx)
        found = perf_spec(ctx.params)

    assert (found.model, found.url) == ("digits", "gpu:8000")
    assert found.loads == (ClosedLoad(4),)


@pytest.mark.parametrize(
    ("load", "words", "refused"),
    [
        ("slo: p99<9ms", "-b 0", "batch size 0: need"),
        ("batch_size: 4", "--shape x:4 --slo p99<4", "objective 'p99<4' has no unit"),
        ("concurrency: 1", "-b 0", "batch size 0: need 1 or more"),
        ("url: gpu", "--request-rate-range 5:1", "request rate range '5:1' is empty"),
        ("rate: 5", "--request-rate-range 5:1", "request rate range '5:1' is empty"),
        ("stages: 5/s:1s", "-p 500", "-p 500, but --stages says how long"),
        ("seed: 3", "--precise", "--precise has no effect"),
    ],
)
def test_an_error_of_the_command_line_names_no_line(project, load, words, refused):
    if load.startswith(("seed", "stages")):
        load = f"options: {{{load}}}"
    text = PROJECT + f"  other: {{model: digits, {load}}}\n"

    with pytest.raises(SpecError) as caught:
        spec(project(text), "--load", "other", *words.split())

    assert caught.value.message.startswith(refused)


def test_the_line_is_that_of_the_whole_word(project):
    fields = ("batch_size: 2", "rate: 20:1", "model: digits", "slo: p9<1s")
    text = PROJECT + "  other:\n" + "".join(f"    {field}\n" for field in fields)
    line = text.splitlines().index("    rate: 20:1") + 1

    with pytest.raises(SpecError, match=f"yaml:{line}: request rate range '20:1'"):
        spec(project(text), "--load", "other", "--slo", "p99<1s")


@pytest.mark.parametrize("name", ["load", "project", "version", "debug"])
def test_a_load_sets_no_option_of_the_command_itself(project, name):
    text = PROJECT + f"  other: {{model: digits, options: {{{name}: peak}}}}\n"

    with pytest.raises(SpecError, match=f"perf has no option --{name} for a load"):
        spec(project(text), "--load", "other")


SECRET = "hunter2-of-ours"


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ("model: '${TOK}'", ""),
        ("model: digits, slo: '${TOK}'", ""),
        ("model: digits, url: '127.0.0.1:1/${TOK}'", ""),
        ("model: digits, url: '${TOK}'", ""),
        ("model: digits, url: '127.0.0.1:1', options: {header: '${TOK}'}", ""),
        ("model: digits, options: {request-parameter: 'key:${TOK}:int'}", ""),
        ("model: digits, options: {seed: '${TOK}'}", ""),
        ("model: digits, input_data: '${TOK}.npz'", ""),
        ("model: digits, options: {service-kind: '${TOK}'}", ""),
        ("model: digits, options: {string-data: '${TOK}', shape: '${TOK}'}", ""),
        ("model: digits, options: {json: '/none/${TOK}'}", ""),
        ("model: digits, options: {request-times: '${TOK}'}", ""),
        ("model: digits, slo: '${TOK}'", "--concurrency-range 3"),
    ],
)
def test_no_error_has_the_value_of_a_variable(project, monkeypatch, load, words):
    monkeypatch.setenv("TOK", SECRET)
    folder = project(PROJECT + f"  other: {{{load}}}\n")
    argv = ["--debug", "perf", "--project", str(folder), "--load", "other"]

    ended = CliRunner().invoke(main, [*argv, *words.split()])

    assert ended.exit_code not in (0, 70)
    assert SECRET not in ended.output
    assert "Error: " in ended.output
