"""Sweeps over batch sizes and shapes, each with every load."""

import json

import pytest

from triton_kit import perf
from triton_kit.errors import SpecError
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec, Variant

pytestmark = pytest.mark.server


def test_every_batch_size_runs_with_every_load(loaded, kit, tmp_path):
    out, csv, hdr = (tmp_path / name for name in ("out.json", "out.csv", "out.hdr"))
    result = kit(
        *("perf", "-m", "mlp", "-u", loaded.http_url, "--request-count", 20),
        *("-b", "1:4:x2", "--concurrency-range", "1:2", "--warm-up", 0),
        *("--json", out, "-f", csv, "--hdr-file", hdr),
    )
    document = json.loads(out.read_text())
    runs = document["runs"]

    assert result.exit_code == 0, result.output
    assert [(run["batch_size"], run["load"]["concurrency"]) for run in runs] == [
        *((1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2))
    ]
    for run in runs:
        size = run["batch_size"]
        assert run["throughput"] == pytest.approx(size * run["requests_per_s"])
        assert run["server"][0]["inferences"] == 20 * size
    assert "concurrency 2, batch 4" in result.output
    assert csv.read_text().startswith("Concurrency,Batch Size,Shapes,Inferences/Second")
    assert "Tag=concurrency-2;-batch-4," in hdr.read_text()


@pytest.mark.parametrize("more", [(), ("--processes", 2)])
def test_every_shape_runs(loaded, kit, tmp_path, more):
    out = tmp_path / "out.json"
    result = kit(
        *("perf", "-m", "varying", "-u", loaded.http_url, "--request-count", 20),
        *("--shape", "x:4", "--shape", "x:400", "--request-rate-range", 200),
        *("--json", out, *more),
    )
    runs = json.loads(out.read_text())["runs"]

    assert result.exit_code == 0, result.output
    assert [run["shapes"] for run in runs] == [{"x": [4]}, {"x": [400]}]
    assert [run["errors"] for run in runs] == [0, 0]
    assert "200/s constant, x:400" in result.output


def test_a_search_finds_a_load_for_each_batch_size(loaded):
    result = measure(
        PerfSpec(
            url=loaded.http_url,
            model="mlp",
            loads=tuple(ClosedLoad(n) for n in (1, 2, 3)),
            sweep=(Variant(batch_size=1), Variant(batch_size=8)),
            search="binary",
            slo=parse_slo("p99<10s"),
            request_count=10,
            warm_up_s=0,
        )
    )

    assert result.highest_load_met == "concurrency 3, batch 1; concurrency 3, batch 8"
    assert result.meets_slo


def test_a_batch_that_the_model_does_not_take_costs_no_load(loaded):
    with pytest.raises(SpecError, match="batch size 128"):
        perf("mlp", url=loaded.http_url, batch_size=[1, 128], request_count=5)


def test_a_sweep_of_several_models_is_refused(loaded, kit):
    result = kit(
        *("perf", "-m", "mlp", "-m", "varying", "-u", loaded.http_url),
        *("-b", "mlp=1,2", "--shape", "varying=x:4"),
    )

    assert result.exit_code == 2
    assert "sweep one model at a time" in result.output
