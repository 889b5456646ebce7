import csv
import json

import pytest
from click.testing import CliRunner

from triton_kit.cli import main
from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import RateLoad
from triton_kit.loadtest.loops.mix import ModelShare
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec

pytestmark = pytest.mark.server

MODELS = (ModelShare(model="mlp", weight=3, batch_size=2), ModelShare(model="chain"))


def spec(loaded, protocol, **changes):
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url
    fixed = {"url": url, "protocol": protocol, "models": MODELS, "warm_up_s": 0}
    return PerfSpec(**(fixed | changes))


@pytest.mark.parametrize("load", [ClosedLoad(4), RateLoad(rate_hz=500)], ids=str)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_models_share_a_run_by_their_weights(loaded, protocol, load):
    result = measure(spec(loaded, protocol, loads=(load,), request_count=400))
    [run] = result.runs
    counted = {stats.model: stats.requests for stats in run.server}
    mlp, chain = run.models

    assert run.recording.errors == {}
    assert [part.succeeded for part in run.models] == [300, 100]
    # The pipeline's first step is the other model: 100 of its requests are from there.
    assert counted == {"mlp": 300 + 100, "chain": 100, "head": 100}
    assert run.throughput == pytest.approx(mlp.throughput + chain.throughput)
    assert mlp.throughput == pytest.approx(2 * mlp.requests_per_s)
    assert mlp.recording.latency.count + chain.recording.latency.count == 400


def test_a_batch_that_one_model_does_not_take_is_refused(loaded):
    with pytest.raises(SpecError, match="batch size 99999: model 'varying'"):
        measure(
            spec(
                loaded,
                "grpc",
                models=(
                    ModelShare(model="mlp"),
                    ModelShare(model="varying", batch_size=99999),
                ),
            )
        )


def test_the_command_shows_every_model(loaded, tmp_path):
    path, table = tmp_path / "result.json", tmp_path / "out.csv"

    result = CliRunner().invoke(
        main,
        [
            *("perf", "-m", "mlp=1", "-m", "varying=2", "-u", loaded.http_url),
            *("-b", "mlp=4", "--shape", "varying=x:3"),
            *("--request-count", "60", "--json", str(path), "-f", str(table)),
        ],
    )
    assert result.exit_code == 0, result.output
    document = json.loads(path.read_text())
    [run] = document["runs"]
    counted = {stats["model"]: stats["requests"] for stats in run["server"]}

    assert [model["name"] for model in document["models"]] == ["mlp", "varying"]
    assert [(m["model"], m["requests"], m["batch_size"]) for m in run["models"]] == [
        ("mlp", 20, 4),
        ("varying", 40, 1),
    ]
    assert counted == {m["model"]: m["requests"] for m in run["models"]}
    [row] = csv.DictReader(table.read_text().splitlines())
    infer_us = {s["model"]: s["mean_us"]["compute_infer"] for s in run["server"]}
    mean_us = (20 * infer_us["mlp"] + 40 * infer_us["varying"]) / 60
    assert float(row["Server Compute Infer"]) == round(mean_us)
    assert "\n  mlp " in result.output
    assert "\n  varying " in result.output


def test_a_pipeline_with_a_stateful_step_gets_sequences(loaded):
    result = measure(spec(loaded, "grpc", model="tally", models=(), request_count=60))

    assert result.runs[0].recording.errors == {}
    assert result.runs[0].figures.succeeded == 60
