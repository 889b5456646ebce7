"""A server's metrics of its GPUs become figures per GPU."""

import pytest
from scripted_server import serving

from triton_kit.loadtest.record.metrics import MetricsWatch
from triton_kit.loadtest.results.gpus import GpuUse, gpu_uses

ONE, OTHER = "GPU-340cec52-80ba-c0df-8511", "GPU-a07dfe08-b87f-1f96-7083"
# As tritonserver 2.51 writes them.
PAGE = """\
# HELP nv_inference_count Number of inferences performed
# TYPE nv_inference_count counter
nv_inference_count{{model="mlp",version="1"}} 10
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{{gpu_uuid="{0}"}} {2}
nv_gpu_utilization{{gpu_uuid="{1}"}} 0.000000
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{{gpu_uuid="{0}"}} 85520809984.000000
nv_gpu_memory_total_bytes{{gpu_uuid="{1}"}} 85520809984.000000
# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{{gpu_uuid="{0}"}} {3}
nv_gpu_memory_used_bytes{{gpu_uuid="{1}"}} 617611264.000000
# HELP nv_gpu_power_usage GPU power usage in watts
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{{gpu_uuid="{0}"}} {4}
nv_gpu_power_usage{{gpu_uuid="{1}"}} 70.000000
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{{gpu_uuid="{0}"}} {5}
nv_energy_consumption{{gpu_uuid="{1}"}} {6}
"""  # noqa: E501
BEFORE = PAGE.format(
    ONE, OTHER, "0.400000", "1073741824.000000", "100.0", "20.0", "7.5"
)
AFTER = PAGE.format(ONE, OTHER, "0.900000", "2147483648.000000", "300.0", "60.5", "9.5")


def collected(*pages):
    """Collect the metrics of a real server that answers with these pages."""

    def script(peer, index):
        peer.read_http()
        body = pages[min(index, len(pages) - 1)].encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
        peer.send((head + "Connection: close\r\n\r\n").encode() + body)

    with serving(script) as (host, port):
        watch = MetricsWatch(f"{host}:{port}/metrics", interval_s=60)
        with watch.watching():
            pass
    return watch.summary()


def test_each_gpu_has_its_figures():
    one, other = gpu_uses(collected(BEFORE, AFTER), 1000)

    assert one == GpuUse(
        gpu=ONE,
        utilization=pytest.approx(0.65),
        memory_used_bytes=2147483648.0,
        memory_total_bytes=85520809984.0,
        power_w=200.0,
        energy_j=40.5,
        energy_per_inference_j=pytest.approx(0.0405),
    )
    assert (other.gpu, other.energy_j) == (OTHER, 2.0)


def test_a_gpu_in_words():
    one, _ = gpu_uses(collected(BEFORE, AFTER), 1000)

    assert str(one) == (
        f"GPU {ONE}: 65 % busy, 2,048 MiB used, 200 W, 40.5 mJ per inference"
    )


def test_a_server_without_gpus_has_none():
    assert gpu_uses(collected("# TYPE up gauge\nup 1\n"), 5) == ()


def test_what_a_driver_does_not_tell_is_not_known():
    lines = [line for line in BEFORE.splitlines() if "energy" not in line]

    one, _ = gpu_uses(collected("\n".join(lines) + "\n"), 1000)

    assert one.energy_per_inference_j is None
    assert one.as_json()["energy_j"] is None


def test_energy_of_a_run_without_inferences_belongs_to_none():
    one, _ = gpu_uses(collected(BEFORE, AFTER), 0)

    assert (one.energy_j, one.energy_per_inference_j) == (40.5, None)
