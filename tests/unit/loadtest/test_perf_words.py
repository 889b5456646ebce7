"""What the words of `triton-kit perf` mean, and what is refused before any request."""

import re

import click
import pytest
from click.testing import CliRunner
from options_table import PAGE, page_with_options

from triton_kit.cli import main
from triton_kit.cli.perf import command
from triton_kit.cli.perf.spec import perf_spec
from triton_kit.errors import SpecError
from triton_kit.loadtest.loops.load import RateLoad, ScheduleLoad, rate_range
from triton_kit.loadtest.loops.sequences import Sequences
from triton_kit.loadtest.option_texts import parse_header, parse_parameter
from triton_kit.loadtest.results.export import _escaped
from triton_kit.loadtest.results.slo import latency_below, parse_slo
from triton_kit.loadtest.results.verdict import Finding, Verdict
from triton_kit.loadtest.run.sweep import binary
from triton_kit.triton.model import model_path


def spec(*words):
    return perf_spec(command.make_context("perf", ["-m", "m", *words]).params)


def test_windows_may_be_of_a_number_of_requests():
    assert spec("--measurement-mode", "count_windows").stop.window_requests == 50
    assert spec("--measurement-request-count", "7", "-r", "3").stop.window_requests == 7
    assert spec("--measurement-mode", "time_windows", "-r", "3").stop.window_s == 5

    with pytest.raises(SpecError, match="windows of time"):
        spec("--measurement-mode", "time_windows", "--measurement-request-count", "7")


@pytest.mark.parametrize("words", [["-s", "0"], ["-r", "0"]])
def test_nothing_is_no_default(words):
    with pytest.raises(SpecError):
        spec(*words)


def test_words_that_only_perf_analyzer_needs_change_nothing():
    words = ("--async", "-v", "--max-threads", "8", "--service-kind", "triton")

    assert spec(*words) == spec()


@pytest.mark.parametrize(
    ("url", "metrics_url"),
    [
        ("gpu7:8001", "gpu7:8002/metrics"),
        ("https://gpu7", "gpu7:8002/metrics"),
        ("[::1]:8000", "[::1]:8002/metrics"),
    ],
)
def test_metrics_are_those_of_the_server(url, metrics_url):
    assert spec("-u", url, "--collect-metrics").metrics_url == metrics_url


@pytest.mark.parametrize(
    "words", [["-l", "0"], ["--percentile", "-1"], ["--request-count", "0"]]
)
def test_defaults_of_perf_analyzer_may_be_written_out(words):
    assert spec(*words) == spec()


def test_a_request_count_of_nothing_leaves_a_trace_its_end(tmp_path):
    times = tmp_path / "times.txt"
    times.write_text("0\n5\n9\n")

    asked = spec("--request-times", str(times), "--request-count", "0")

    assert asked.request_count == 3


@pytest.mark.parametrize("bound", [["-l", "5"], ["--slo", "p99<5ms"]])
def test_end_0_goes_on_until_an_objective_is_missed(bound):
    closed = spec("--concurrency-range", "8:0:8", *bound)
    rates = spec("--request-rate-range", "100:0:400", *bound)

    assert closed.search == rates.search == "until-missed"
    assert [load.concurrency for load in closed.loads[:3]] == [8, 16, 24]
    assert closed.loads[-1].concurrency == 16_384
    assert [load.rate_hz for load in rates.loads[:2]] == [100, 500]
    assert len(spec("--concurrency-range", "1:0", *bound).loads) == 10_000


def test_end_0_needs_an_objective_and_no_binary_search():
    with pytest.raises(SpecError, match="needs an objective") as caught:
        spec("--concurrency-range", "1:0:1")
    assert "END" in caught.value.hint

    with pytest.raises(SpecError, match="concurrency range 'x': not of the form"):
        spec("--concurrency-range", "x")
    with pytest.raises(SpecError, match="needs an END"):
        spec("--concurrency-range", "1:0:1", "-l", "5", "--binary-search")


@pytest.mark.parametrize(
    "words",
    [
        *(["--input-tensor-format", "binary"], ["--output-tensor-format=binary"]),
        *(["--trace-level", "OFF"], ["--trace-rate", "1000"], ["--trace-count", "-1"]),
        *(["--log-frequency", "0"], ["--model-signature-name", "serving_default"]),
        *(["--model-repository", "/models"], ["--triton-server-directory", "/opt"]),
        *(["-v", "-v"], ["-a"], ["--sync"], ["--ssl-grpc-use-ssl", "false"]),
    ],
)
def test_values_that_are_always_so_are_accepted(words):
    assert spec(*words) == spec()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input-tensor-format", "json"], "tensors travel as bytes"),
        (["--output-tensor-format", "json"], "tensors travel as bytes"),
        (["--trace-level", "OFF", "--trace-level", "TIMESTAMPS"], "tracing is"),
        (["--trace-rate", "5"], "--trace-rate 5 is left out: tracing is a setting"),
        (["--trace-count", "9"], "tracing is a setting"),
        (["--log-frequency", "5"], "tracing is a setting"),
        (["--service-kind", "openai"], "--service-kind openai needs an endpoint"),
        (["--enable-mpi"], "--enable-mpi is left out"),
        (["--streaming"], "the protocol is HTTP"),
        (["--metrics-url", "h:1"], "--metrics-url h:1, but no metrics are collected"),
        (["--metrics-interval", "5"], "--metrics-interval 5, but no metrics"),
        (["--max-threads", "0"], "--max-threads"),
        (["-s", "-1"], "stability -1 %"),
        (["--periodic-concurrency-range", "1:3", "-p", "500"], "-p 500, but"),
        (["-H", "Content-Length:5"], "written by the transport itself"),
        (["--request-count", "5", "-s", "10"], "-s 10.0 has no effect"),
        (["--request-count", "5", "--percentile", "95"], "--percentile 95.0 has no"),
        (["--request-distribution", "poisson"], "--request-distribution has no effect"),
        (["--request-period", "5"], "--request-period has no effect without"),
        (["--precise"], "--precise has no effect without --request-rate-range"),
        (["--max-in-flight", "5"], "--max-in-flight has no effect without"),
        (["--output-shared-memory-size", "5"], "has no effect without --shared-memory"),
        (["--verbose-csv"], "--verbose-csv, but no CSV is written"),
        (["--slo", "p99<20"], "objective 'p99<20' has no unit"),
        (["--seed", "-1"], "--seed"),
        (["--batch-size", "x"], "batch size 'x': need a whole number"),
    ],
)
def test_unsupported_options_are_refused_with_the_reason(words, said):
    result = CliRunner().invoke(main, ["perf", "-m", "m", "-u", "127.0.0.1:1", *words])

    assert result.exit_code == 2, result.output
    assert said in result.output
    assert "No such option" not in result.output


@pytest.mark.parametrize(
    ("deprecated", "words"),
    [
        (["-t", "4"], ["--concurrency-range", "4"]),
        (["-t", "2", "-c", "5", "-d"], ["--concurrency-range", "2:5"]),
        (["-d", "-l", "5"], ["--concurrency-range", "1:0", "-l", "5"]),
        (["-c", "5"], ["--concurrency-range", "1"]),
        (["-z"], ["--input-data", "zero"]),
        (["--data-directory", "/usr"], ["--input-data", "/usr"]),
        (
            ["--ssl-grpc-use-ssl", "true", "-i", "grpc"],
            ["--ssl-grpc-use-ssl", "-i", "grpc"],
        ),
    ],
)
def test_deprecated_words_of_perf_analyzer_mean_the_same(deprecated, words):
    assert spec(*deprecated) == spec(*words)


def test_the_first_screen_of_the_help_is_enough_to_begin():
    result = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["perf", "--help"])
    first = "\n".join(result.output.splitlines()[:24])

    for name in ("-m", "-u", "-i", "-b", "-p", "--concurrency-range", "--json"):
        assert re.search(rf"^  {name}\b", first, re.MULTILINE), name
    assert "--slo" in first
    assert "--input-data" in first
    assert result.output.count("triton-kit perf -m") == 3


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("--rate", "--request-rate-range"),
        ("--headers", "--header"),
        ("--concurrency", "--concurrency-range"),
        ("--model", "--model-name"),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(wrong, meant):
    result = CliRunner().invoke(main, ["perf", wrong, "5"])

    assert result.exit_code == 2
    assert meant in result.output


def test_every_option_is_in_one_group_with_help():
    shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]

    assert all(p.help and len(p.help) > 5 for p in shown)


def test_deprecated_and_new_words_of_one_thing_are_refused():
    with pytest.raises(SpecError, match="deprecated words"):
        spec("-t", "4", "--concurrency-range", "4")


def test_models_that_are_called_are_separated_by_commas():
    asked = spec("--bls-composing-models", "a:3, b")

    assert asked.composing == ("a:3", "b")
    assert spec().composing == ()


def test_the_first_id_of_sequences_is_reported_once():
    words = ("--sequence-length", "5", "--sequence-id-range", "10:20")

    with pytest.raises(SpecError, match="both set the first id"):
        spec(*words, "--start-sequence-id", "1")


# Of `perf_analyzer --help`, version 2.47.
OPTIONS = re.findall(
    r"\S+",
    """
--version -m -x --bls-composing-models --model-signature-name --service-kind --endpoint
-v --async -a --sync --measurement-interval -p --measurement-mode
--measurement-request-count --concurrency-range --periodic-concurrency-range
--request-period --request-parameter --request-rate-range --request-distribution
--request-intervals --serial-sequences --binary-search --num-of-sequences
--latency-threshold -l --max-threads --stability-percentage -s --max-trials -r
--percentile --request-count -t -c -d -b --input-data --shared-memory
--output-shared-memory-size --shape --sequence-length --sequence-length-variation
--sequence-id-range --string-length --string-data --input-tensor-format
--output-tensor-format -z --data-directory -u -i --ssl-grpc-use-ssl
--ssl-grpc-root-certifications-file --ssl-grpc-private-key-file
--ssl-grpc-certificate-chain-file --ssl-https-verify-peer --ssl-https-verify-host
--ssl-https-ca-certificates-file --ssl-https-client-certificate-file
--ssl-https-client-certificate-type --ssl-https-private-key-file
--ssl-https-private-key-type -f --profile-export-file -H --streaming
--grpc-compression-algorithm --trace-level --trace-rate --trace-count --log-frequency
--collect-metrics --metrics-url --metrics-interval --triton-server-directory
--model-repository --verbose-csv --enable-mpi
""",
)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_perf_analyzer_is_known_and_in_the_docs(option):
    known = {name for parameter in command.params for name in parameter.opts}
    words = set(re.findall(r"--?[a-z][a-z-]*|-H", PAGE.read_text()))

    assert option in known
    assert option in words or option.startswith("--ssl-")


def test_the_reference_has_the_options_of_the_command():
    text = PAGE.read_text()

    assert page_with_options(text) == text, "run tests/unit/loadtest/options_table.py"


def test_ids_of_sequences_have_a_range():
    words = ("--sequence-length", "5", "--sequence-id-range", "10:20")

    sequences = spec(*words, "--concurrency-range", "10").sequences

    assert (sequences.first_id, sequences.last_id) == (10, 19)
    with pytest.raises(SpecError, match="11 sequences at a time"):
        spec(*words, "--concurrency-range", "11")


@pytest.mark.parametrize("text", ["20:10", "a:b", "1:2:3", "0:5", "5:5"])
def test_malformed_ranges_of_ids_are_refused(text):
    with pytest.raises(SpecError):
        spec("--sequence-length", "5", "--sequence-id-range", text)


def test_ids_end_at_64_bits():
    with pytest.raises(SpecError, match="2 sequences at a time"):
        Sequences(first_id=2**64 - 1).check_room(2)


@pytest.mark.parametrize(
    "words",
    [
        ["--warm-up", "nan"],
        ["--warm-up", "inf"],
        ["--request-timeout", "nan"],
        ["--request-timeout", "inf"],
        ["--request-rate-range", "1e-300"],
        ["--concurrency-range", "1:60000000"],
    ],
)
def test_numbers_that_cannot_be_are_refused(words):
    result = CliRunner().invoke(main, ["perf", "-m", "m", "-u", "127.0.0.1:1", *words])

    assert result.exit_code == 2, result.output
    assert result.output.startswith("Error: ")


def test_a_range_includes_its_end_however_it_is_rounded():
    loads = rate_range("0.1:0.3:0.1")

    assert [load.rate_hz for load in loads] == pytest.approx([0.1, 0.2, 0.3])


def test_the_rate_of_a_trace_is_that_of_its_gaps():
    def rate(*times_ns):
        return ScheduleLoad(times_ns=times_ns, is_repeated=False, name="t").rate_hz

    assert rate(*range(0, 500_000_001, 10_000_000)) == pytest.approx(100)
    assert rate(5) == rate(7, 7) == 0


def test_values_that_the_protocol_cannot_carry_are_refused():
    with pytest.raises(SpecError, match="no int64"):
        parse_parameter("p:99999999999999999999:int")
    with pytest.raises(SpecError, match="ASCII"):
        parse_header("a:\u65e5\u672c")


def test_a_threshold_is_kept_as_it_was_given():
    assert latency_below(95, 1e7).bound == 1e10
    assert latency_below(99.9, 1234.5678).text == "p99.9<1234.5678ms"


def test_labels_are_escaped():
    assert _escaped('a"b\\c\nd') == r"a\"b\\c\nd"


class _Run:
    def __init__(self, throughput, *findings):
        self.throughput = throughput
        self.verdict = Verdict(findings)


def _next(plan, run):
    try:
        return plan.send(run)
    except StopIteration:
        return None


def test_a_throughput_that_is_missed_below_is_looked_for_above():
    loads = [RateLoad(rate_hz=rate) for rate in (10, 20, 30, 40)]
    plan = binary(loads, parse_slo("throughput>35"))
    asked, load = [], next(plan)
    while load is not None:
        asked.append(load)
        load = _next(plan, _Run(load.rate_hz))

    assert [load.rate_hz for load in asked] == [20, 30, 40]


def test_a_search_goes_below_a_load_whose_requests_fail():
    loads = [RateLoad(rate_hz=rate) for rate in (10, 20, 30)]
    plan = binary(loads, parse_slo("throughput>5"))
    asked = [next(plan)]

    asked.append(_next(plan, _Run(20, Finding("failing", "half of them"))))
    asked.append(_next(plan, _Run(10)))

    assert [load.rate_hz for load in asked if load] == [20, 10]


def test_names_of_models_are_paths_as_the_server_reads_them():
    assert model_path("a=b") == "/v2/models/a=b"
    assert model_path("a b/c", "2") == "/v2/models/a%20b%2Fc/versions/2"


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("-b 4", "batch size 4: a request to a language model has one", "leave -b out"),
        ("-b 1,4", "batch size 4: a request to a language model has", "leave -b out"),
        ("--shape x:3", "shape of x: prompts have no shape", "leave --shape out"),
        ("--shape x:3 --shape x:4", "shape of x: prompts have no", "leave --shape"),
        ("--sequence-length 3", "sequences are for stateful models", "--session-turns"),
        ("--output-tokens 0", "--output-tokens '0': need a mean of 1 or", "without it"),
        ("--input-tokens 5:-1", "--input-tokens '5:-1': need a mean of", "without it"),
        ("--session-turns many", "--session-turns 'many': not of the", "without it"),
    ],
)
@pytest.mark.parametrize("endpoint", ["chat", "completions", "generate_stream"])
def test_what_prompts_do_not_have_is_refused_at_once(endpoint, words, said, hint):
    argv = ["--endpoint", endpoint, "--num-dataset-entries", "5", *words.split()]

    with pytest.raises(SpecError) as caught:
        spec(*argv)

    assert caught.value.message.startswith(said)
    assert hint in (caught.value.hint or "")
