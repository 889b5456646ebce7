"""Every option of perf_analyzer is taken, or refused with the reason.

The list is that of its sources at commit 263c5f6 (December 2025), beyond 2.47.
"""

import pytest

from triton_kit.cli.perf import command
from triton_kit.cli.perf.spec import perf_spec
from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import ClosedLoad

TAKEN = """
-m m|-x 1|-u localhost:1|-i grpc|-b 2|-p 100|-r 3|-s 5|-l 5|-f out.csv|-H a:b|-v|-a
-t 2|-c 4 -d -t 2|-z|--async|--sync|--max-threads 4|--streaming -i grpc
--model-signature-name s|--service-kind triton|--measurement-mode time_windows
--measurement-request-count 5 --measurement-mode count_windows
--measurement-interval 100|--concurrency-range 1:2|--request-rate-range 5
--periodic-concurrency-range 1:2|--request-period 5 --periodic-concurrency-range 1:2
--request-distribution poisson --request-rate-range 5|--request-intervals FILE
--request-count 5|--warmup-request-count 5|--latency-threshold 5 --request-rate-range 5
--stability-percentage 5|--max-trials 5|--percentile 95|--input-data zero
--data-directory DIR|--shape x:1,2|--string-data a|--string-length 5
--shared-memory none
--output-shared-memory-size 5 --shared-memory system|--input-tensor-format binary
--output-tensor-format binary|--num-of-sequences 5|--sequence-length 5
--sequence-length-variation 5 --sequence-length 5|--sequence-id-range 1:9
--serial-sequences|--binary-search --slo p99<5ms --concurrency-range 1:2
--grpc-compression-algorithm gzip -i grpc|--ssl-grpc-use-ssl -i grpc
--ssl-grpc-root-certifications-file FILE -i grpc --ssl-grpc-use-ssl
--ssl-grpc-private-key-file FILE -i grpc --ssl-grpc-use-ssl
--ssl-grpc-certificate-chain-file FILE -i grpc --ssl-grpc-use-ssl
--ssl-https-verify-peer 1|--ssl-https-verify-host 2
--ssl-https-ca-certificates-file FILE -u https://a
--ssl-https-client-certificate-file FILE -u https://a
--ssl-https-client-certificate-type PEM
--ssl-https-private-key-file FILE -u https://a|--ssl-https-private-key-type PEM
--triton-server-directory d|--model-repository d|--collect-metrics
--metrics-url localhost:1 --collect-metrics|--metrics-interval 5 --collect-metrics
--bls-composing-models a,b|--profile-export-file out.json|--verbose-csv -f out.csv
--trace-level OFF|--trace-rate 1000|--trace-count -1|--log-frequency 0
--request-parameter a:1:int|--endpoint v1/chat/completions
--service-kind openai --endpoint chat|--session-concurrency 5 --endpoint chat
--fixed-schedule --endpoint chat --input-data PROMPTS
"""
REFUSED = {
    "--service-kind triton_c_api": "the C API",
    "--service-kind tfserving": "TFServing",
    "--service-kind torchserve": "TorchServe",
    "--service-kind dynamic_grpc": "other gRPC services",
    "--service-kind openai": "needs an endpoint of the OpenAI API",
    "--session-concurrency 5": "needs an endpoint of the OpenAI API",
    "--fixed-schedule": "--replay FILE",
    "--grpc-method a.B/C": "KServe v2",
    "--proto a.proto": "KServe v2",
    "--input-tensor-format json": "tensors travel as bytes",
    "--output-tensor-format json": "tensors travel as bytes",
    "--trace-level TIMESTAMPS": "tracing is a setting of the server",
    "--trace-rate 1": "tracing is a setting of the server",
    "--trace-count 1": "tracing is a setting of the server",
    "--log-frequency 1": "tracing is a setting of the server",
    "--enable-mpi": "--processes N",
    "-s 5 --request-count 5": "request-count",
}
# Long options of perf_analyzer, from the table in src/command_line_parser.cc.
KNOWN = """
async binary-search bls-composing-models collect-metrics concurrency-range
data-directory enable-mpi endpoint fixed-schedule grpc-compression-algorithm grpc-method
input-data input-tensor-format latency-threshold log-frequency max-threads max-trials
measurement-interval measurement-mode measurement-request-count metrics-interval
metrics-url model-repository model-signature-name num-of-sequences
output-shared-memory-size output-tensor-format percentile periodic-concurrency-range
profile-export-file request-count request-distribution request-intervals
request-parameter request-period request-rate-range sequence-id-range sequence-length
sequence-length-variation serial-sequences service-kind session-concurrency shape
shared-memory ssl-grpc-certificate-chain-file ssl-grpc-private-key-file
ssl-grpc-root-certifications-file ssl-grpc-use-ssl ssl-https-ca-certificates-file
ssl-https-client-certificate-file ssl-https-client-certificate-type
ssl-https-private-key-file ssl-https-private-key-type ssl-https-verify-host
ssl-https-verify-peer stability-percentage streaming string-data string-length sync
trace-count trace-level trace-rate triton-server-directory verbose-csv
warmup-request-count
"""
LINES = [line for row in TAKEN.split("\n") for line in row.split("|") if line]


def spec(words, folder):
    files = {
        "FILE": "intervals.txt",
        "DIR": "",
        "PROMPTS": "prompts.jsonl",
    }
    (folder / "intervals.txt").write_text("1000\n2000\n")
    lines = [f'{{"prompt": "a", "timestamp": {at}}}\n' for at in (0, 100, 250)]
    (folder / "prompts.jsonl").write_text("".join(lines))
    words = [str(folder / files[w]) if w in files else w for w in words.split()]
    model = [] if "-m" in words else ["-m", "m"]
    with command.make_context("perf", [*model, *words]) as ctx:
        return perf_spec(ctx.params)


@pytest.mark.parametrize("words", LINES)
def test_an_option_is_taken(words, tmp_path):
    assert spec(words, tmp_path).model == "m"


@pytest.mark.parametrize("words", REFUSED)
def test_an_option_is_refused_with_the_reason(words, tmp_path):
    with pytest.raises(SpecError) as caught:
        spec(words, tmp_path)

    assert REFUSED[words] in str(caught.value)


def test_the_table_has_every_option():
    shown = {word for words in (*LINES, *REFUSED) for word in words.split()}

    assert {f"--{name}" for name in KNOWN.split()} <= shown


def test_sessions_at_a_time_are_a_concurrency(tmp_path):
    found = spec("--session-concurrency 5 --endpoint chat", tmp_path)

    assert found.loads == (ClosedLoad(5),)


def test_a_fixed_schedule_has_the_times_of_its_prompts(tmp_path):
    found = spec("--fixed-schedule --endpoint chat --input-data PROMPTS", tmp_path)
    [load] = found.loads

    assert load.times_ns == (0, 100_000_000, 250_000_000)
    assert (found.request_count, found.warm_up_s) == (3, 0)


@pytest.mark.parametrize("time", ["null", '"a"', "-1"])
def test_a_time_that_is_none_is_named_with_its_line(tmp_path, time):
    path = tmp_path / "other.jsonl"
    path.write_text(
        f'{{"prompt": "a", "timestamp": 0}}\n{{"prompt": "b", "timestamp": {time}}}\n'
    )

    with pytest.raises(SpecError, match=r"other\.jsonl:2: timestamp"):
        spec(f"--fixed-schedule --endpoint chat --input-data {path}", tmp_path)


@pytest.mark.parametrize(
    "line", ['{"turns": ["b"], "timestamp": 1}', '{"prompt": "b", "session_id": 1}']
)
def test_a_session_has_no_fixed_schedule(tmp_path, line):
    path = tmp_path / "other.jsonl"
    path.write_text(f'{{"prompt": "a", "timestamp": 0}}\n{line}\n')

    with pytest.raises(SpecError, match=r"other\.jsonl:2: '\w+' makes a session"):
        spec(f"--fixed-schedule --endpoint chat --input-data {path}", tmp_path)


def test_a_warm_up_takes_no_prompts_from_a_fixed_schedule(tmp_path):
    words = "--fixed-schedule --endpoint chat --input-data PROMPTS"

    with pytest.raises(SpecError, match=r"--warmup-request-count 2 with --fixed-sch"):
        spec(f"{words} --warmup-request-count 2", tmp_path)
