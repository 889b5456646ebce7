"""Prompts for language models that Triton serves: generate_stream and gRPC."""

import json

import pytest

from triton_kit.errors import SpecError
from triton_kit.loadtest.generation_spec import GenerationSpec, Lengths
from triton_kit.loadtest.run.measure import measure
from triton_kit.loadtest.spec import ClosedLoad, PerfSpec
from triton_kit.loadtest.transport_spec import TransportSpec

pytestmark = pytest.mark.server

NS_PER_MS = 1_000_000
WORDS = 12


def spec(loaded, over, **changes):
    generation = {
        "input_tokens": Lengths(mean=WORDS),
        "output_tokens": Lengths(mean=6),
        "prompts": 10,
    } | changes.pop("generation", {})
    is_grpc = over == "grpc"
    fixed = {
        "url": loaded.grpc_url if is_grpc else loaded.http_url,
        "model": "teller",
        "protocol": "grpc" if is_grpc else "http",
        "loads": (ClosedLoad(2),),
        "request_count": 12,
        "warm_up_s": 0,
        "transport": TransportSpec(endpoint="infer" if is_grpc else over),
        "generation": GenerationSpec(**generation),
    }
    return PerfSpec(**(fixed | changes))


@pytest.mark.parametrize("over", ["generate_stream", "grpc"])
def test_tokens_of_a_decoupled_model_are_timed(loaded, over):
    [run] = measure(spec(loaded, over)).runs
    figures = run.generation

    assert run.recording.errors == {}
    assert figures.counted_by == ["chunks"]
    assert figures.output_tokens.tolist() == [6] * 12
    # The model sends a word every 10 ms; the server adds its own time.
    for histogram in (figures.ttft, figures.itl):
        assert 9 <= histogram.quantile_ns(0.5) / NS_PER_MS <= 20


@pytest.mark.parametrize("over", ["generate_stream", "grpc"])
def test_a_tokenizer_counts_the_text_of_the_responses(loaded, over, word_tokenizer):
    """Each response of the model is the number of words of its prompt."""
    result = measure(spec(loaded, over, generation={"tokenizer": word_tokenizer}))
    figures = result.runs[0].generation

    assert figures.counted_by == ["tokenizer"]
    assert figures.output_tokens.tolist() == [6] * 12


@pytest.fixture(scope="module")
def word_tokenizer(tmp_path_factory):
    """A tokenizer.json whose tokens are words."""
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path


def test_what_a_model_takes_no_prompts_for_is_refused(loaded):
    with pytest.raises(SpecError, match="no input 'text_input'"):
        measure(spec(loaded, "generate_stream", model="repeat"))
    with pytest.raises(SpecError, match="'max_tokens' of 'teller' has no value"):
        measure(spec(loaded, "grpc", generation={"output_tokens": None}))
    with pytest.raises(SpecError, match="need a response token by token"):
        measure(spec(loaded, "infer", model="varying"))
    with pytest.raises(SpecError, match="turns need an endpoint with a history"):
        measure(spec(loaded, "grpc", generation={"turns": Lengths(mean=2)}))


def test_the_command_reads_prompts_and_objectives(loaded, kit, tmp_path):
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.json"
    prompts.write_text('{"prompt": "a b c"}\n{"prompt": "d", "max_tokens": 2}\n')
    result = kit(
        *("perf", "-m", "teller", "-u", loaded.http_url, "--request-count", 10),
        *("--endpoint", "generate_stream", "--input-data", prompts, "--osl", 4),
        *("--slo", "ttft_p95<2s,itl_p95<5ms,goodput>0.1", "--json", out),
    )
    document = json.loads(out.read_text())
    [run] = document["runs"]

    assert result.exit_code == 1, result.output
    assert "misses itl_p95<5ms" in result.output
    assert "3 output tokens per request (counted by chunks)" in result.output
    assert "TTFT p50" in result.output
    assert run["generation"]["output_tokens"]["mean"] == 3
    # Two tokens can arrive together, so a request may be a good one.
    assert run["generation"]["good_share"] < 0.5
    assert document["spec"]["generation"]["output_tokens"]["mean"] == 4
