"""Loads of a triton-kit.yaml as options of `triton-kit perf`."""

import pytest

from triton_kit.cli.perf import command, named
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
    with command.make_context("perf", argv) as ctx, named.located(ctx):
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

    with pytest.raises(SpecError, match="load 'steps' is for 'letters'"):
        load_project(project(text))


def test_an_unknown_load_is_named(project, tmp_path):
    with pytest.raises(SpecError, match="no load 'peek'") as caught:
        spec(project(), "--load", "peek")
    assert "'peak'" in caught.value.hint

    with pytest.raises(SpecError, match=r"triton-kit.yaml:1: the project has no loads"):
        spec(project(PROJECT.partition("loads:")[0]), "--load", "peak")

    with pytest.raises(SpecError, match="no such file"):
        spec(tmp_path / "data", "--load", "peak")
