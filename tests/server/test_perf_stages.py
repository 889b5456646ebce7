"""Stages, several servers and new connections against the real server."""

import json
from collections import Counter

import pytest
from click.testing import CliRunner
from proxies import nginx

from triton_kit.cli import main
from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.loops.load import StagedLoad
from triton_kit.loadtest.loops.stages import parse_stages
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.control_http import HttpControl

pytestmark = pytest.mark.server


def served(loaded, model="mlp"):
    [row] = HttpControl(loaded.http_url).statistics(model)
    return row["inference_stats"]["success"]["count"]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_each_stage_has_its_figures(loaded, protocol, processes):
    url = {"http": loaded.http_url, "grpc": loaded.grpc_url}[protocol]
    before = served(loaded)
    load = StagedLoad(stages=parse_stages("20/s:500ms,20..200/s:500ms,200/s:500ms"))

    result = measure(
        PerfSpec(
            url=url,
            protocol=protocol,
            model="mlp",
            loads=(load,),
            warm_up_s=0,
            processes=processes,
        )
    )

    [run] = result.runs
    assert run.recording.errors == {}
    assert [level.recording.total for level in run.levels] == [10, 55, 100]
    assert [level.window_s for level in run.levels] == [0.5, 0.5, 0.5]
    assert run.total == served(loaded) - before == 165
    assert run.as_json()["levels"][1]["stage"] == "20..200/s:0.5s"
    assert "20..200/s:0.5s" in result.table()


def test_a_stage_that_the_server_does_not_keep_up_with_is_named(loaded):
    load = StagedLoad(stages=parse_stages("10/s:800ms,60/s:1200ms"))
    spec = PerfSpec(url=loaded.http_url, model="slow", loads=(load,), warm_up_s=0)

    [run] = measure(spec).runs

    reasons = [f.reason for f in run.verdict.findings if f.kind == "server-limited"]
    assert any(reason.startswith("stage 2 (60/s:1.2s)") for reason in reasons)
    assert not any(reason.startswith("stage 1") for reason in reasons)


def test_requests_that_could_not_be_sent_are_errors_of_their_stage(loaded):
    load = StagedLoad(stages=parse_stages("10/s:500ms,60/s:500ms"))
    spec = PerfSpec(
        url=loaded.http_url,
        model="slow",
        loads=(load,),
        warm_up_s=0,
        most_in_flight=1,
        drain_within_s=0.2,
    )

    [run] = measure(spec).runs

    first, second = run.levels
    assert (first.recording.total, second.recording.total) == (5, 30)
    assert second.recording.errors["no response"].count > 5
    assert first.recording.failed == 0


def test_the_command_runs_stages(loaded, tmp_path):
    words = ["perf", "-m", "mlp", "-u", loaded.http_url, "--warm-up", "0"]
    out = tmp_path / "out.json"
    stages = ["--stages", "50/s:200ms,100/s:200ms", "--json", str(out)]

    done = CliRunner().invoke(main, [*words, *stages])

    assert done.exit_code == 0, done.output
    [run] = json.loads(out.read_text())["runs"]
    assert run["load"]["stages"] == ["50/s:0.2s", "100/s:0.2s"]
    assert [level["requests"] for level in run["levels"]] == [10, 20]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_requests_go_to_several_servers_in_turn(loaded, tmp_path, protocol):
    second = {
        "http": f"location / {{ proxy_pass {loaded.http_url}; }}",
        "grpc": f"location / {{ grpc_pass grpc://{loaded.grpc_url}; }}",
    }[protocol]
    listen = {"http": "", "grpc": "http2"}[protocol]
    first = {"http": loaded.http_url, "grpc": loaded.grpc_url}[protocol]
    with nginx(tmp_path, second, listen=listen) as url:
        before = served(loaded)
        spec = PerfSpec(
            url=first,
            more_urls=(url,),
            protocol=protocol,
            model="mlp",
            loads=(ClosedLoad(4),),
            request_count=200,
            warm_up_s=0,
        )
        [run] = measure(spec).runs

    assert run.recording.errors == {}
    assert [server.recording.succeeded for server in run.servers] == [100, 100]
    assert [server["url"] for server in run.as_json()["servers"]] == [
        first.removeprefix("http://"),
        url,
    ]
    # The second server is a proxy of the first.
    assert served(loaded) - before == 200
    assert run.server[0].requests == 400


def test_sequences_stay_with_the_server_of_their_slot(loaded, tmp_path):
    second = f"location / {{ proxy_pass {loaded.http_url}; }}"
    with nginx(tmp_path, second) as url:
        spec = PerfSpec(
            url=loaded.http_url,
            more_urls=(url,),
            model="counter",
            loads=(ClosedLoad(4),),
            request_count=120,
            warm_up_s=0,
        )
        [run] = measure(spec).runs

    assert run.recording.errors == {}
    assert sum(server.recording.succeeded for server in run.servers) == 120
    assert min(server.recording.succeeded for server in run.servers) > 30


def test_the_errors_of_one_of_two_servers_are_its_own(loaded, tmp_path):
    second = f"""
    location / {{ proxy_pass {loaded.http_url}; }}
    location /v2/models/mlp/infer {{ return 503 'no room'; }}
    """
    with nginx(tmp_path, second) as url:
        spec = PerfSpec(
            url=loaded.http_url,
            more_urls=(url,),
            model="mlp",
            request_count=40,
            warm_up_s=0,
        )
        [run] = measure(spec).runs

    good, bad = run.servers
    assert (good.recording.succeeded, good.recording.failed) == (20, 0)
    assert (bad.recording.succeeded, bad.recording.errors["HTTP 503"].count) == (0, 20)


def test_a_server_that_is_away_at_the_start_is_named(loaded):
    spec = PerfSpec(url=loaded.http_url, more_urls=("127.0.0.1:9",), model="mlp")

    with pytest.raises(TransportError, match=r"connect to 127\.0\.0\.1:9"):
        measure(spec)


def test_servers_with_different_models_are_refused(loaded, server):
    spec = PerfSpec(url=loaded.http_url, more_urls=(server.http_url,), model="mlp")

    with pytest.raises(SpecError, match="no model 'mlp'"):
        measure(spec)


def test_one_server_is_not_named_twice(loaded):
    with pytest.raises(SpecError, match="named twice"):
        PerfSpec(url=loaded.http_url, more_urls=(loaded.http_url,), model="mlp")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_connections_are_replaced(loaded, tmp_path, protocol):
    target = {
        "http": f"proxy_pass {loaded.http_url};",
        "grpc": f"grpc_pass grpc://{loaded.grpc_url};",
    }[protocol]
    log = tmp_path / "access.log"
    directives = f"access_log {log} connection; location / {{ {target} }}"
    listen = {"http": "", "grpc": "http2"}[protocol]
    with nginx(tmp_path, directives, listen=listen) as url:
        spec = PerfSpec(
            url=url,
            protocol=protocol,
            model="mlp",
            loads=(ClosedLoad(4),),
            request_count=400,
            warm_up_s=0,
            transport=TransportSpec(new_connection_every=10),
        )
        [run] = measure(spec).runs

    assert (run.recording.succeeded, run.recording.errors) == (400, {})
    lines = [line.split() for line in log.read_text().splitlines()]
    uses = Counter(number for number, path in lines if path.lower().endswith("infer"))
    assert sum(uses.values()) == 400
    assert max(uses.values()) == 10
    assert 40 <= len(uses) <= 44
