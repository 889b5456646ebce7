"""perf on a real server of the OpenAI API: llama.cpp with a tiny random model."""

import json
import re
import shlex
import subprocess
import sys
import venv
from contextlib import contextmanager
from pathlib import Path

import pytest
from proxies import nginx
from tls_fixtures import make_certificate

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.generation_spec import GenerationSpec, Lengths
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.tls import Tls

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".cache" / "openai-server"
PACKAGES = ("xllamacpp==2026.10.11549", "gguf==0.19.0")
KEY = "secret"
WITHIN_S = 300


@pytest.fixture(scope="module")
def python():
    """A Python with the server's packages, made once."""
    found = ENVIRONMENT / "bin" / "python"
    probe = [found, "-c", "import gguf, xllamacpp"]
    if not found.exists() or subprocess.run(probe, check=False).returncode:
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        install = [found, "-m", "pip", "install", "-q", *PACKAGES]
        done = subprocess.run(
            install, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        if done.returncode:
            pytest.skip(f"pip cannot get {' '.join(PACKAGES)}: {done.stderr[-200:]}")
    return found


@contextmanager
def llama(python, folder, *keys):
    script = Path(__file__).parent / "llama_server.py"
    log = (folder / "llama.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [python, script, folder / "tiny.gguf", *keys],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            url = process.stdout.readline().strip()
            assert url, (folder / "llama.log").read_text()
            yield url
        finally:
            process.kill()


@pytest.fixture(scope="module")
def server(python, tmp_path_factory):
    with llama(python, tmp_path_factory.mktemp("llama")) as url:
        yield url


def run(url, *, endpoint="chat", generation=None, **changes):
    fixed = {
        "url": url,
        "model": "tiny",
        "loads": (ClosedLoad(3),),
        "request_count": 30,
        "warm_up_s": 0.1,
        "transport": TransportSpec(endpoint=endpoint),
        "generation": GenerationSpec(
            **{
                "input_tokens": Lengths(mean=20, deviation=5),
                "output_tokens": Lengths(mean=8),
                "prompts": 200,
                "extra": {"ignore_eos": True},
            }
            | (generation or {})
        ),
    }
    return measure(PerfSpec(**(fixed | changes)))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_every_token_is_counted_by_the_servers_usage(server, endpoint):
    result = run(server, endpoint=endpoint)
    [measured] = result.runs
    figures = measured.generation

    assert measured.recording.errors == {}
    assert figures.counted_by == ["usage"]
    assert figures.output_tokens.tolist() == [8] * 30
    assert (figures.input_tokens > 20).all()
    assert figures.ttft.count >= 20  # some random tokens have no text
    assert 0 < figures.ttft.max_ns <= measured.recording.latency.max_ns
    assert figures.itl.min_ns > 0
    assert result.server["name"] == "llama.cpp"


def test_a_server_that_closes_every_connection_makes_up_no_errors(server):
    """It closes after each stream without saying so, while the next request leaves."""
    [measured] = run(server, request_count=200).runs

    assert measured.recording.errors == {}
    assert measured.recording.succeeded == 200
    assert measured.recording.retried > 0


def test_sessions_grow_by_the_responses(server):
    generation = {"turns": Lengths(mean=3), "prompts": 50}
    [measured] = run(server, generation=generation).runs
    inputs = measured.generation.input_tokens

    assert measured.recording.errors == {}
    assert inputs.max() > 2 * inputs.min()


def test_cancellations_leave_the_other_requests_whole(server):
    generation = {
        "output_tokens": Lengths(mean=50),
        "cancelled_share": 0.3,
        "cancel_after_s": 0.01,
    }
    [measured] = run(server, generation=generation, request_count=60).runs
    recording = measured.recording

    assert recording.errors == {}
    assert recording.cancelled > 0
    assert recording.succeeded + recording.cancelled == 60
    assert measured.generation.output_tokens.tolist() == [50] * recording.succeeded


def test_a_prompt_that_is_too_long_is_refused_in_the_servers_words(server):
    generation = {"input_tokens": Lengths(mean=3000), "prompts": 2}
    result = run(server, generation=generation, request_count=4)
    [(kind, tally)] = result.runs[0].recording.errors.items()

    assert kind == "HTTP 400"
    assert "context size" in tally.example
    assert result.is_failing


def test_a_key_and_a_model_are_checked(python, tmp_path):
    with llama(python, tmp_path, KEY) as url:
        [measured] = run(url, headers={"Authorization": f"Bearer {KEY}"}).runs
        with pytest.raises((TransportError, SpecError)) as caught:
            run(url, headers={"Authorization": "Bearer wrong"}, model="tiny")

    assert measured.errors == 0
    assert "HTTP 401" in str(caught.value)


def test_tokens_come_one_by_one_through_a_tls_gateway(server, tmp_path):
    certificate, key = make_certificate(tmp_path)
    gateway = f"""
    ssl_certificate {certificate}; ssl_certificate_key {key};
    location /llm/ {{ proxy_pass {server}/; proxy_buffering off; }}
    location / {{ return 404 'no such route'; }}
    """
    tls = Tls(authorities=str(certificate))
    transport = TransportSpec(endpoint="chat", tls=tls)
    with nginx(tmp_path, gateway, listen="ssl") as url:
        url = url.replace("127.0.0.1", "https://localhost")
        [measured] = run(f"{url}/llm", transport=transport).runs
        lost = run(url, transport=transport, request_count=2)
    [(kind, tally)] = lost.runs[0].recording.errors.items()

    assert measured.recording.errors == {}
    assert measured.generation.ttft.mean_ns < measured.recording.latency.mean_ns
    assert measured.generation.output_tokens.tolist() == [8] * 30
    assert (kind, tally.example) == ("HTTP 404", "no such route")


def test_the_commands_of_the_page_work(server, tmp_path):
    """Those of docs/llm.md that name localhost:8000, on this server."""
    text = (ROOT / "docs" / "llm.md").read_text()
    [prompts] = re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "prompts.jsonl").write_text(prompts)
    blocks = re.findall(r"^    (triton-kit(?:.*\\\n)*.*)$", text, re.MULTILINE)
    commands = [
        shlex.split(block.replace("\\\n", " ").replace("localhost:8000", server))
        for block in blocks
        if "localhost:8000" in block
    ]
    kit = Path(sys.executable).parent / "triton-kit"

    assert len(commands) == 5
    for _, *words in commands:
        done = subprocess.run(
            [kit, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


def test_the_command_finds_the_model_and_shows_tokens(server, kit, tmp_path):
    out = tmp_path / "out.json"
    result = kit(
        *("perf", "-u", server, "--endpoint", "chat", "--isl", "10:2", "--osl", 5),
        *("--request-rate-range", 50, "--request-count", 20, "--json", out),
        *("--slo", "ttft_p95<20s,itl_p95<20s"),
    )
    [measured] = json.loads(out.read_text())["runs"]

    assert result.exit_code == 0, result.output
    assert "meets ttft_p95<20s" in result.output
    assert measured["generation"]["tokens_counted_by"] == ["usage"]
    # A random model makes tokens without text: such a response has no first token.
    assert 0.5 <= measured["generation"]["good_share"] <= 1.0
