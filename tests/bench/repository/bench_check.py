"""How long a check takes: pytest tests/bench/repository/bench_check.py

Makes a repository of 1,000 models (every tenth is an ensemble of three steps), checks
it five times in one process, and prints the CPU time and the median of a model.
"""

import statistics
import time
from pathlib import Path

from triton_kit import check_repository

MODELS = 1000
RUNS = 5
MOST_S = 5.0
MOST_MEDIAN_MS = 5.0

MODEL = """\
name: "{name}"
backend: "identity"
max_batch_size: 16
input [
  {{ name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [
  {{ name: "logits" data_type: TYPE_FP32 dims: [ -1, 768 ] }}
]
dynamic_batching {{ preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }}
instance_group [ {{ count: 2 kind: KIND_CPU }} ]
version_policy {{ latest {{ num_versions: 2 }} }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
optimization {{ execution_accelerators {{ gpu_execution_accelerator: [
  {{ name: "tensorrt" parameters {{ key: "precision_mode" value: "FP16" }} }} ] }} }}
model_warmup [ {{ name: "one" batch_size: 1
  inputs {{ key: "ids" value {{ data_type: TYPE_INT64 dims: [ 8 ] zero_data: true }} }}
  inputs {{ key: "mask" value {{ data_type: TYPE_INT64 dims: [ 8 ] zero_data: true }} }}
}} ]
"""
STEP = """\
    {{ model_name: "{name}" model_version: -1
      input_map {{ key: "ids" value: "ids" }} input_map {{ key: "mask" value: "mask" }}
      output_map {{ key: "logits" value: "logits_{i}" }} }}"""
ENSEMBLE = """\
platform: "ensemble"
max_batch_size: 16
input [
  {{ name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [ {outputs} ]
ensemble_scheduling {{ step [
{steps}
] }}
"""
OUTPUT = '{{ name: "logits_{i}" data_type: TYPE_FP32 dims: [ -1, 768 ] }}'


def write(root: Path) -> None:
    for number in range(MODELS):
        name = f"model_{number:04d}"
        for version in ("1", "2"):
            (root / name / version).mkdir(parents=True)
        text = MODEL.format(name=name)
        if number % 10 == 9:
            used = [f"model_{number - i:04d}" for i in range(1, 4)]
            steps = [STEP.format(name=used[i], i=i) for i in range(3)]
            outputs = ", ".join(OUTPUT.format(i=i) for i in range(3))
            text = ENSEMBLE.format(steps=",\n".join(steps), outputs=outputs)
        (root / name / "config.pbtxt").write_text(text)


def test_a_thousand_models(tmp_path, capsys):
    write(tmp_path)
    seconds = []
    for _ in range(RUNS):
        start = time.process_time()
        report = check_repository(tmp_path)
        seconds.append(time.process_time() - start)
        assert report.accepted
    median_ms = statistics.median(seconds) / MODELS * 1e3
    with capsys.disabled():
        runs = ", ".join(f"{s:.2f}" for s in seconds)
        print(f"\n{MODELS} models: {runs} s of CPU; {median_ms:.2f} ms a model")

    assert max(seconds) < MOST_S
    assert median_ms < MOST_MEDIAN_MS


def test_ten_thousand_models(tmp_path):
    config = 'backend: "identity" input { name: "a" data_type: TYPE_FP32 dims: 1 }'
    for number in range(10_000):
        (tmp_path / f"m{number}" / "1").mkdir(parents=True)
        (tmp_path / f"m{number}" / "config.pbtxt").write_text(config)

    report = check_repository(tmp_path)

    assert report.accepted
    assert len(report.models) == 10_000
