import json

import pytest
from click.testing import CliRunner

from triton_kit.cli import main

pytestmark = pytest.mark.server


def perf(url, protocol, model, path, *words):
    argv = ["perf", "-m", model, "-u", url, "-i", protocol, "--json", str(path)]
    result = CliRunner().invoke(main, [*argv, "--warm-up", "0.1", *words])
    assert result.exit_code == 0, result.output
    [run] = json.loads(path.read_text())["runs"]
    return result.output, run


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_each_level_has_its_figures(loaded, tmp_path, protocol):
    url = loaded.grpc_url if protocol == "grpc" else loaded.http_url

    output, run = perf(
        url,
        protocol,
        "mlp",
        tmp_path / "result.json",
        *("--periodic-concurrency-range", "2:8:3", "--request-period", "5"),
        *("-f", str(tmp_path / "out.csv")),
    )
    [server] = run["server"]

    assert run["load"] == {
        **{"kind": "periodic", "concurrency": 8, "start": 2, "step": 3, "period": 5}
    }
    assert [level["concurrency"] for level in run["levels"]] == [2, 5, 8]
    assert all(level["requests"] >= 15 for level in run["levels"][1:])
    assert run["errors"] == 0
    assert server["requests"] == run["requests_total"]
    assert sum(level["requests"] for level in run["levels"]) <= run["requests"]
    assert "\n  concurrency 5 " in output


def test_responses_of_a_decoupled_model_make_the_levels(loaded, tmp_path):
    counts = tmp_path / "counts.json"
    counts.write_text(json.dumps({"data": [{"count": [20]}]}))

    _, run = perf(
        loaded.grpc_url,
        "grpc",
        "repeat",
        tmp_path / "result.json",
        *("--periodic-concurrency-range", "1:3", "--request-period", "30"),
        *("--input-data", str(counts)),
    )

    assert [level["concurrency"] for level in run["levels"]] == [1, 2, 3]
    assert run["replies"] == 20 * run["requests"]
    # The first level has 30 responses, of which 20 make a request; the rest of the
    # second request may come along with them.
    assert run["levels"][0]["requests"] in (1, 2)
