"""Loads on the OpenAI API, against a server whose every token has its time."""

import json

import pytest
from scripted_server import serving
from token_server import token_server

from triton_kit.errors import SpecError, TransportError
from triton_kit.loadtest.client.openai import OpenAiControl
from triton_kit.loadtest.generation_spec import GenerationSpec, Lengths
from triton_kit.loadtest.loops.load import ClosedLoad, RateLoad
from triton_kit.loadtest.results.slo import parse_slo
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec
from triton_kit.triton.address import parse_address

NS_PER_MS = 1_000_000
# How far a median may be off on a machine that other tests share.
BOUND_MS = 10


def run(url, model="steady", *, endpoint="chat", generation=None, **changes):
    fixed = {
        "url": url,
        "model": model,
        "loads": (ClosedLoad(2),),
        "request_count": 10,
        "warm_up_s": 0,
        "transport": TransportSpec(endpoint=endpoint),
        "generation": generation
        or GenerationSpec(input_tokens=Lengths(mean=5), prompts=20),
    }
    return measure(PerfSpec(**(fixed | changes)))


def tokens(count):
    return GenerationSpec(
        input_tokens=Lengths(mean=5), output_tokens=Lengths(mean=count), prompts=20
    )


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_time_to_first_token_and_between_tokens_are_those_of_the_server(endpoint):
    with token_server() as (_, url):
        result = run(
            url,
            "ttft_ms=60,itl_ms=10,usage=0",
            endpoint=endpoint,
            generation=tokens(11),
        )
    [measured] = result.runs
    figures = measured.generation

    assert measured.recording.errors == {}
    for histogram, expected_ms in (
        (figures.ttft, 60),
        (figures.itl, 10),
        (figures.icl, 10),
        (measured.recording.latency, 160),
    ):
        # A machine without a core to spare makes many late, and none early. The tokens
        # have times of their own: a late first one shortens the rest.
        assert histogram.quantile_ns(0.5) / NS_PER_MS >= expected_ms - 1.5
        assert histogram.quantile_ns(0.1) / NS_PER_MS <= expected_ms + BOUND_MS
    assert figures.counted_by == ["chunks"]
    # Two in flight, 11 tokens each 160 ms, or later.
    most = 2 * 11 / 0.160
    assert most / 2 <= figures.tokens_per_s <= 1.15 * most


def test_time_to_first_token_counts_from_the_due_time():
    """One request at a time of 50 ms, due every 25 ms: the last waits the longest."""
    with token_server() as (_, url):
        result = run(
            url,
            "ttft_ms=50",
            generation=tokens(1),
            loads=(RateLoad(rate_hz=40),),
            most_in_flight=1,
        )
    ttft = result.runs[0].generation.ttft

    assert 49.5 <= ttft.min_ns / NS_PER_MS <= 50 + 4 * BOUND_MS
    assert 50 + 9 * 25 - 1 <= ttft.max_ns / NS_PER_MS <= 1.4 * (50 + 9 * 25)


def test_usage_counts_before_chunks():
    with token_server() as (_, url):
        [measured] = run(url, generation=tokens(4)).runs
    figures = measured.generation.as_json()

    assert figures["tokens_counted_by"] == ["usage"]
    assert figures["output_tokens"]["mean"] == 8  # it says twice its chunks
    assert figures["input_tokens"]["min"] > 0
    assert measured.recording.responses == 40


def test_requests_say_what_is_asked():
    generation = GenerationSpec(
        input_tokens=Lengths(mean=30, deviation=10),
        output_tokens=Lengths(mean=6, deviation=2),
        prompts=50,
        extra={"temperature": 0, "model": "other"},
    )
    with token_server() as (server, url):
        run(url, generation=generation, request_count=50)
        run(url, generation=generation, request_count=50)
    first, second = (
        sorted(json.dumps(asked) for _, asked in half)
        for half in (server.asked[:50], server.asked[50:])
    )
    prompts = [asked["messages"][0]["content"] for _, asked in server.asked[:50]]
    lengths = [len(prompt.split()) for prompt in prompts]
    path, asked = server.asked[0]

    assert first == second  # the same seed
    assert path == "/v1/chat/completions"
    assert asked["stream_options"] == {"include_usage": True}
    assert (asked["temperature"], asked["model"]) == (0, "other")
    assert len(set(prompts)) == 50
    assert 25 <= sum(lengths) / 50 <= 35
    assert len({asked["max_tokens"] for _, asked in server.asked}) > 2


def test_the_warm_up_sends_other_prompts_than_the_measurement():
    generation = GenerationSpec(input_tokens=Lengths(mean=9), prompts=10_000)
    with token_server() as (server, url):
        run(
            url,
            "steady",
            generation=generation,
            warm_up_s=0.2,
            request_count=20,
            loads=(ClosedLoad(1), ClosedLoad(2)),
        )
    prompts = [asked["messages"][0]["content"] for _, asked in server.asked]

    assert len(prompts) > 40
    assert len(set(prompts)) == len(prompts)


def test_prompts_come_from_a_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    lines = [
        {"prompt": "Why?", "max_tokens": 3},
        {"messages": [{"role": "system", "content": "Be brief."}] * 2},
        {"text_input": "Who?"},
    ]
    path.write_text("\n".join(json.dumps(line) for line in lines))
    with token_server() as (server, url):
        run(url, input_data=str(path), request_count=3, loads=(ClosedLoad(1),))
        run(
            url,
            input_data=str(path),
            request_count=1,
            loads=(ClosedLoad(1),),
            endpoint="completions",
        )
    why, brief, who, completion = (asked for _, asked in server.asked)

    assert why["messages"] == [{"role": "user", "content": "Why?"}]
    assert why["max_tokens"] == 3
    assert brief["messages"] == lines[1]["messages"]
    assert who["messages"][0]["content"] == "Who?"
    assert "max_tokens" not in who
    assert completion["prompt"] == "Why?"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "a"', "prompts.jsonl:2: not JSON"),
        ("[1]", "prompts.jsonl:2: not a JSON object"),
        ('{"promt": "a"}', "unknown field 'promt'"),
        ('{"prompt": "a", "turns": ["b"]}', "needs one of prompt, messages and turns"),
        ("{}", "has none of them"),
        ('{"prompt": 5}', "'prompt' has no text"),
        ('{"messages": ["a"]}', "'messages' is not a list of messages"),
        ('{"prompt": "a", "max_tokens": 0}', "max_tokens is 0"),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path, line, words):
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'{{"prompt": "a"}}\n{line}\n')
    with token_server() as (_, url), pytest.raises(SpecError) as caught:
        run(url, input_data=str(path))

    assert words in str(caught.value)


def test_a_session_has_the_responses_before_each_turn(tmp_path):
    path = tmp_path / "sessions.jsonl"
    turns = [
        {"turns": ["one", {"text": "two"}]},
        {"session_id": "s", "prompt": "A"},
        {"session_id": "s", "prompt": "B"},
        {"session_id": "s", "prompt": "C"},
    ]
    path.write_text("\n".join(json.dumps(line) for line in turns))
    with token_server() as (server, url):
        result = run(
            url,
            generation=tokens(2),
            input_data=str(path),
            loads=(ClosedLoad(1),),
            request_count=5,
        )
    said = [
        [message["content"] for message in asked["messages"]]
        for _, asked in server.asked
    ]

    assert result.runs[0].errors == 0
    assert said == [
        ["one"],
        ["one", "t0 t1 ", "two"],
        ["A"],
        ["A", "t0 t1 ", "B"],
        ["A", "t0 t1 ", "B", "t0 t1 ", "C"],
    ]


def test_sessions_at_a_rate_keep_their_turns_apart():
    generation = GenerationSpec(
        input_tokens=Lengths(mean=5),
        output_tokens=Lengths(mean=2),
        prompts=50,
        turns=Lengths(mean=3),
        sessions=3,
    )
    with token_server() as (server, url):
        result = run(
            url,
            "ttft_ms=5",
            generation=generation,
            loads=(RateLoad(rate_hz=200),),
            request_count=60,
        )
    lengths = [len(asked["messages"]) for _, asked in server.asked]

    assert result.runs[0].recording.succeeded == 60
    assert set(lengths) == {1, 3, 5}
    # No turn is sent before the response to the turn before is there.
    for _, asked in server.asked:
        roles = [message["role"] for message in asked["messages"]]
        assert roles == ["user", "assistant", "user", "assistant", "user"][: len(roles)]


def test_load_processes_share_the_prompts():
    generation = GenerationSpec(input_tokens=Lengths(mean=9), prompts=40)
    with token_server() as (server, url):
        result = run(url, generation=generation, request_count=40, processes=2)
    prompts = {asked["messages"][0]["content"] for _, asked in server.asked}

    assert result.runs[0].generation.as_json()["output_tokens"]["mean"] == 16
    assert len(prompts) == 40


@pytest.mark.parametrize(("turns", "processes"), [(1, 1), (3, 1), (3, 2)])
def test_several_servers_share_the_prompts_and_keep_their_sessions(turns, processes):
    generation = GenerationSpec(
        input_tokens=Lengths(mean=5), prompts=30, turns=Lengths(mean=turns)
    )
    with token_server() as (one, url), token_server() as (other, other_url):
        result = run(
            url,
            more_urls=(other_url,),
            generation=generation,
            request_count=24,
            processes=processes,
        )
    [measured] = result.runs
    counts = [
        sum(len(asked["messages"]) == 2 * turn + 1 for _, asked in server.asked)
        for server in (one, other)
        for turn in range(turns)
    ]

    assert measured.recording.errors == {}
    assert len(one.asked) == len(other.asked) == 12
    assert counts == [12 // turns] * 2 * turns


def test_goodput_counts_the_requests_that_keep_every_bound(tmp_path):
    """Of four requests, one has many tokens and is too long."""
    path = tmp_path / "prompts.jsonl"
    lengths = [2, 2, 2, 20]
    path.write_text(
        "\n".join(json.dumps({"prompt": "a", "max_tokens": n}) for n in lengths)
    )
    with token_server() as (_, url):
        result = run(
            url,
            "ttft_ms=20,itl_ms=10",
            input_data=str(path),
            request_count=40,
            slo=parse_slo("ttft_p95<2s,itl_p95<2s,latency_p99<120ms,goodput>1000"),
            loads=(ClosedLoad(4),),
        )
    [measured] = result.runs
    figures = measured.generation

    assert figures.good_share == pytest.approx(0.75)
    assert figures.good_per_s == pytest.approx(0.75 * measured.requests_per_s, rel=0.01)
    met = {row["objective"]: row["is_met"] for row in result.objectives[0]}
    assert met == {
        "ttft_p95<2s": True,
        "itl_p95<2s": True,
        "latency_p99<120ms": False,
        "goodput>1000": False,
    }


def test_cancelled_requests_are_neither_successes_nor_failures():
    generation = GenerationSpec(
        input_tokens=Lengths(mean=5),
        output_tokens=Lengths(mean=20),
        prompts=100,
        cancelled_share=0.3,
        cancel_after_s=0.03,
    )
    with token_server() as (server, url):
        result = run(
            url,
            "ttft_ms=10,itl_ms=5",
            generation=generation,
            request_count=60,
            loads=(ClosedLoad(6),),
        )
    [measured] = result.runs
    recording = measured.recording

    assert recording.errors == {}
    assert recording.total == 60
    assert 8 <= recording.cancelled <= 30
    assert len(server.asked) == 60
    assert measured.generation.as_json()["cancelled"] == recording.cancelled
    assert not measured.verdict.is_failing


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("status=404", "HTTP 404", "no such thing as status=404"),
        ("status=400", "HTTP 400", "no such thing"),
        ("done=0", "incomplete stream", "without [DONE]"),
        ("malformed_after=2", "malformed event", '{"choices": [{"te'),
        ("error_after=2", "stream error", "out of memory"),
        ("hang_up_after=2", "connection reset", ""),
    ],
)
def test_what_goes_wrong_in_a_stream_is_a_failure_of_its_kind(model, kind, words):
    with token_server() as (_, url):
        result = run(url, model, request_count=4)
    [measured] = result.runs
    [(found, tally)] = measured.recording.errors.items()

    assert found == kind
    assert tally.count == 4
    assert words in tally.example
    assert result.is_failing


def test_a_first_token_that_never_comes_is_a_timeout():
    with token_server() as (_, url):
        result = run(url, "silent=1", request_count=2, request_timeout_s=0.3)

    assert result.runs[0].recording.errors["timeout"].count == 2


def test_an_api_key_goes_along_and_its_absence_is_explained():
    with token_server(key="secret") as (_, url):
        result = run(url, headers={"Authorization": "Bearer secret"})
        with pytest.raises(TransportError, match="Incorrect API key") as caught:
            run(url)

    assert result.runs[0].errors == 0
    assert "-H 'Authorization: Bearer KEY'" in caught.value.hint


def test_a_model_that_the_server_does_not_list_is_named():
    with token_server(models=["steady"]) as (_, url):
        run(url, "steady", request_count=1)
        with pytest.raises(SpecError) as caught:
            run(url, "stedy")

    assert "has no model 'stedy'" in caught.value.message
    assert "steady" in caught.value.hint


def test_a_model_is_found_by_a_single_request():
    with token_server(models=["steady"]) as (server, url):
        control = OpenAiControl(parse_address(url, default_port=8000), headers={})
        control.model("steady")

    assert server.listings == 1


def test_the_path_of_the_api_may_be_in_the_url():
    with token_server() as (server, url):
        run(f"{url}/v1", request_count=1)

    assert server.asked[0][0] == "/v1/chat/completions"


GPU = """nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 1073741824
"""


def send_gpu_metrics(peer, _index):
    peer.read_http()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(GPU)}\r\nConnection: close\r\n\r\n"
    peer.send((head + GPU).encode())


def test_a_run_has_its_resources_over_time():
    with token_server() as (_, url), serving(send_gpu_metrics) as (host, port):
        result = run(
            url,
            "ttft_ms=50",
            request_count=None,
            measurement_interval_s=2.4,
            metrics_url=f"{host}:{port}/metrics",
            metrics_interval_s=60,
        )
    points = result.as_json()["runs"][0]["resources"]

    times = [point["at_s"] for point in points]
    assert times == sorted(times)
    assert times[-1] >= 2.4
    first = points[0]  # the server is this process
    assert first["server_memory_mib"] > 1
    assert min(first[f"{who}_cores"] for who in ("client", "foreign", "server")) >= 0
    for point in points:
        assert point["gpus"] == [
            {"gpu": "GPU-1", "utilization": 0.5, "memory_used_mib": 1024.0}
        ]
