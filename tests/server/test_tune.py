"""Tuning on the real server: a gain that is there, and everything left as it was."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from nap_project import SLEEPS
from triton_kit.build_project import build
from triton_kit.cli.tune_progress import result_text
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.project.load import load_project
from triton_kit.repository.config.parse import parse
from triton_kit.repository.publish.manifest import verify_manifest
from triton_kit.tuning.budget import parse_budget
from triton_kit.tuning.server import KitServer
from triton_kit.tuning.set_up import set_up
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trials import Wanted
from triton_kit.tuning.tune import tune
from triton_kit.tuning.variants import RefusedVariantError, Variants
from triton_kit.tuning.written_configs import write_winner

pytestmark = pytest.mark.server

MLP = ("mlp", "--shape", "x:16", "--space", "instances=1,2", "--space")
SMALL = (*MLP, "concurrency=1,2", "--budget", "trials=20")


def test_a_gain_that_is_there_is_found_explained_and_applied(
    kit, naps, tmp_path, monkeypatch
):
    output = tmp_path / "out"
    servers = []
    start_anew = KitServer.start_anew

    def starts_anew(server):
        start_anew(server)
        servers.append(server.pid)

    monkeypatch.setattr(KitServer, "start_anew", starts_anew)
    words = (
        "tune",
        "nap",
        naps,
        "--space",
        "instances=1,2",
        "--space",
        "concurrency=8",
    )
    result = kit(*words, "--budget", "trials=20", "-o", output, "--json", "--apply")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["outcome"] == "winner"
    lines = result.stderr.splitlines()
    assert lines[:2] == ["starting the server", "measuring the default"]
    assert lines[2].startswith("1 of at most 20, default: instances=1: ")
    last = lines.index("last rounds: the best points and the default in turn")
    assert " final: instances=" in lines[last + 1]
    found = json.loads((output / "result.json").read_text())
    assert found["outcome"] == "winner"
    assert found["best"]["instances"] == 2
    assert found["gain_interval"][0] > 0.3
    assert found["why"].startswith("the default is queue-bound: requests waited")
    assert load_project(naps).spec.models["nap"].instances[0].count == 2
    assert "# it sleeps" in (naps / "triton-kit.yaml").read_text()
    best = output / "model_repository" / "nap"
    config = parse((best / "config.pbtxt").read_bytes()).config
    assert config.instance_group[0].count == 2
    assert (best / "1" / "model.py").read_text() == SLEEPS
    rows = (output / "trials.csv").read_text().splitlines()
    assert len(rows) == 1 + len(found["trials"])
    confirming = [t for t in found["trials"] if t["stage"] == "confirm"]
    assert len({*servers}) == len(servers) == len(confirming) / 2 >= 2
    assert "count: 1" in (naps / "model_repository/nap/config.pbtxt").read_text()


def test_a_precision_is_converted_tried_and_kept_only_if_it_is_accurate(
    digits, tmp_path
):
    build(load_project(digits), only=["digits"])

    def spec(**floors):
        return TuneSpec(
            model="digits",
            project=digits,
            repository=digits / "model_repository",
            space=("precision=fp32,fp16", "concurrency=1"),
            floors=floors,
            output=tmp_path,
        )

    original = (digits / "model_repository/digits/1/model.onnx").read_bytes()
    phases = []
    with set_up(spec(), None) as ready:
        ready.variants.on_convert = phases.append
        fp16 = Wanted(settings={"precision": "fp16", "concurrency": 1}, effort=1.0)
        found = {}
        ready.trials.measure([fp16], found.__setitem__)
        settings = {"digits": {"precision": "fp16"}}
        made = ready.variants.make_all(settings)
        configs = ready.trials.subject.configs
        write_winner(spec().repository, tmp_path / "best", configs, settings, made)

    assert phases == ["digits: precision=fp16", ""]  # once, though it is used twice
    trial = found[0]
    assert not trial.failure
    assert 40 < trial.figures["snr_db"] < 200
    verify_manifest(tmp_path / "best/digits/1")
    assert (tmp_path / "best/digits/1/model.onnx").read_bytes() != original
    strict = Variants(
        project=load_project(digits),
        repository=tmp_path / "best",
        scratch=tmp_path / "work",
        floors={"min_snr_db": 300.0},
    )
    with pytest.raises(RefusedVariantError, match="dB"):
        strict.make("digits", {"precision": "fp16"})


@pytest.mark.long
def test_a_server_that_dies_costs_a_trial_and_a_bound_that_nothing_keeps(
    small_repository, tmp_path
):
    """The search goes on; the closest settings are named."""

    def kill_server(progress):
        if len(progress.trials) == 3:
            threading.Timer(0.3, _kill_children).start()

    spec = TuneSpec(
        model="affine",
        repository=small_repository,
        slo=parse_slo("p50<1us"),
        space=("instances=1,2", "concurrency=1,2"),
        budget=parse_budget("trials=20"),
        output=tmp_path / "out",
    )

    result = tune(spec, kill_server)

    failures = [trial.failure for _, trial in result.trials if trial.failure]
    assert len(failures) == 1
    assert result.outcome == "nothing meets the SLO"
    assert "the closest misses p50<1us by" in result.verdict
    assert "closest: instances=" in result_text(result)
    assert result.patch == {}


def _kill_children():
    for child in psutil.Process().children(recursive=True):
        if child.name() == "tritonserver" and "affine" in " ".join(child.cmdline()):
            child.kill()


@pytest.mark.long
def test_a_killed_run_is_resumed_and_the_servers_models_are_as_before(
    kit, loaded, tmp_path
):
    control = loaded.control
    before = (control.config("mlp").as_json, control.index())
    output = tmp_path / "out"
    words = ("tune", *SMALL, "-u", loaded.http_url, "-o", output)
    path = output / "trials.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *map(str, words)],
        stderr=subprocess.DEVNULL,
    ) as process:
        _wait_for(lambda: path.is_file() and len(path.read_bytes().splitlines()) > 6)
        process.send_signal(signal.SIGKILL)
    finished = path.read_bytes().rpartition(b"\n")[0]

    result = kit(*words, "--resume")

    assert result.exit_code == 0, result.output
    assert path.read_bytes().startswith(finished + b"\n")
    trials = json.loads((output / "result.json").read_text())["trials"]
    assert len(path.read_bytes().splitlines()) == 1 + len(trials)
    assert (control.config("mlp").as_json, control.index()) == before


def _wait_for(condition, *, within_s=60.0):
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_an_interrupted_run_leaves_nothing_loaded(loaded, tmp_path):
    before = loaded.control.config("mlp").as_json
    words = ("tune", *SMALL, "-u", loaded.http_url, "-o", tmp_path / "out")
    path = tmp_path / "out" / "trials.jsonl"
    with subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        _wait_for(lambda: path.is_file() and len(path.read_bytes().splitlines()) > 3)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert loaded.control.config("mlp").as_json == before


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("varying", "--budget", "trials=20"), 2, "--shape"),
        (("nothing",), 2, "the server has no model 'nothing'"),
        (("mlp", "--space", "instnaces=1,2"), 2, "no field 'instnaces'"),
        (("mlp", "--space", "preferred=[9999]"), 2, "nothing legal in it"),
        (("mlp", "--resume"), 2, "no earlier run to go on with"),
        (("mlp", "-i", "grpc"), 2, "is measured over HTTP"),
        (("mlp", "--space", "precision=fp16"), 2, "only a project on a server"),
        (("mlp", "--min-snr-db", "40"), 2, "no setting of the space is converted"),
    ],
)
def test_bad_input_is_an_error_in_words(kit, loaded, tmp_path, words, code, text):
    result = kit("tune", *words, "-u", loaded.http_url, "-o", tmp_path / "out")

    assert result.exit_code == code, result.output
    assert text in result.output
    assert "Traceback" not in result.output


def test_a_server_with_fixed_models_is_refused_with_what_to_do(kit, server, tmp_path):
    words = ("tune", "affine", "-u", server.http_url, "-o", tmp_path / "out")
    result = kit(*words, "--space", "instances=2,3", "--budget", "trials=20")

    assert result.exit_code == 5, result.output
    assert "--model-control-mode explicit" in result.output


def test_the_plan_sends_no_load(kit, small_repository, tmp_path):
    words = ("tune", "affine", small_repository, "-o", tmp_path / "out", "--plan")
    result = kit(*words, "--json")

    assert result.exit_code == 0, result.output
    planned = json.loads(result.stdout)
    assert {"instances", "concurrency"} <= {f["name"] for f in planned["fields"]}
    assert planned["trials"] > 100
    assert not (tmp_path / "out").exists()
