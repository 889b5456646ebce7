"""One description, every target: the same flags, whatever is in them."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import triton_kit as tk
from deployment_builders import ROOT, container, cpu_repository, gpu_repository
from triton_kit.deployment.deploy import deployment_files
from triton_kit.deployment.needs import Needs
from triton_kit.errors import SpecError
from triton_kit.serving.flags import ENDPOINTS, Place, server_flags
from triton_kit.triton.releases import find_release

TARGETS = ("kubernetes", "compose", "kserve", "quadlet")
MODELS = ("decode", "a b", "$HOME")
NEEDS = Needs(
    models=MODELS,
    shm_bytes=256 << 20,
    runs_on_cpu=True,
    runs_on_gpu=False,
    repository_bytes=0,
)
# What one of the targets would replace, split or unquote.
HOSTILE = st.sampled_from(
    ["$(HOME)", "${HOME}", "$$", "%h", "a b", '"q"', "it's", "\\n", "{{ name }}", "ä"]
)
_maybe = st.one_of(st.none(), st.integers(1, 1000))
FEATURES = st.builds(
    tk.Features,
    load_threads=_maybe,
    response_cache_bytes=_maybe,
    rate_resources=st.sampled_from([(), ("R1:4", "R2:1:0")]),
    trace_url=st.sampled_from(["", "http://collector:4318/v1/traces?a=%20$b"]),
    log_format=st.sampled_from(["default", "ISO8601"]),
    backend_configs=st.lists(
        HOSTILE.map(lambda text: f"python,setting={text}"), max_size=3
    ).map(tuple),
)
SERVERS = st.builds(
    tk.ServeSpec,
    repository=st.just(Path("/repository")),
    model_control=st.sampled_from(["none", "explicit"]),
    strict_model_config=st.booleans(),
    stop_within_s=st.floats(1, 100),
    features=FEATURES,
    flags=HOSTILE.map(lambda text: (f"--id={text}",)),
    access=st.builds(tk.Access, open_control=st.booleans()),
)


def literal(word, key):
    """Undo what a target does to a word, after the key's variable is filled in."""
    return "@".join(part.replace("$$", "$") for part in word.split(key))


def argv(target, files):
    """Return the argv that the container gets from the files, the key as `@`."""
    if target == "kubernetes":
        words = container(yaml.safe_load(files["base/deployment.yaml"]))["args"]
        return [literal(word, "$(TRITON_KIT_KEY)") for word in words]
    if target == "kserve":
        runtime = yaml.safe_load(files["servingruntime.yaml"])
        words = runtime["spec"]["containers"][0]["args"]
        words = [literal(word, "$(TRITON_KIT_KEY)") for word in words]
        return [w.replace("=/mnt/models", "=/models") for w in words]
    if target == "compose":
        services = yaml.safe_load(files["compose.yaml"])["services"]
        key = re.compile(r"\$\{TRITON_KIT_KEY:\?[^}]*\}")
        words = [key.sub("@KEY@", w) for w in services["triton"]["command"]]
        return [literal(word, "@KEY@") for word in words]
    (line,) = re.findall(r"^Exec=(.*)$", files["triton.container"], re.MULTILINE)
    words = [literal(w, "${TRITON_KIT_KEY}") for w in shlex.split(line)]
    return [word.replace("%%", "%") for word in words]


@given(SERVERS, st.sampled_from(["24.10", "26.06"]))
@settings(max_examples=60, deadline=None)
def test_all_targets_give_the_server_equal_flags(server, release):
    spec = tk.DeploySpec(server=server, release=release)
    place = Place(
        ports={"http": 8000, "grpc": 8001, "metrics": 8002},
        key="@",
        addresses=dict.fromkeys(ENDPOINTS, "0.0.0.0"),
        paths={Path("/repository"): "/models"},
    )
    flags = server_flags(server, find_release(release), place)
    wanted = [f.replace("on-error=false", "on-error=true") for f in flags]

    for target in TARGETS:
        files = deployment_files(spec, NEEDS, target)
        assert argv(target, files) == ["tritonserver", *wanted], target


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_asks_each_model(target):
    server = tk.ServeSpec(repository=Path("/repository"))
    text = "".join(
        deployment_files(tk.DeploySpec(server=server), NEEDS, target).values()
    )

    for path in ("decode", "a%20b", "%24HOME"):
        shown = path.replace("%", "%%") if target == "quadlet" else path
        assert f"/v2/models/{shown}/ready" in text


@pytest.mark.parametrize("target", TARGETS)
def test_no_file_has_the_value_of_a_named_variable(target, monkeypatch):
    monkeypatch.setenv("TOKEN", "open sesame")
    server = tk.ServeSpec(repository=Path("/r"), variables=("TOKEN", "LEVEL=a $b"))
    files = deployment_files(tk.DeploySpec(server=server), NEEDS, target)

    text = "".join(files.values())
    assert "open sesame" not in text
    assert "TOKEN" in text
    assert "a $$b" in text


@pytest.mark.parametrize("target", ["compose", "quadlet"])
@pytest.mark.parametrize(
    "fields", [{"mig": "1g.10gb"}, {"replicas": 3}, {"namespace": "n"}], ids=str
)
def test_what_only_a_cluster_has_is_refused(tmp_path, target, fields):
    repository = gpu_repository(tmp_path / "models", "m")
    gpus = 0 if "mig" in fields else 1
    server = tk.ServeSpec(repository=repository)
    spec = tk.DeploySpec(server=server, gpus=gpus, **fields)

    with pytest.raises(SpecError, match="which has no effect"):
        tk.deploy(spec, target, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_the_stack_has_one_job_name_ports_and_a_gpu(tmp_path):
    repository = gpu_repository(tmp_path / "models", "m")
    access = tk.Access(address="0.0.0.0")
    server = tk.ServeSpec(repository=repository, http_port=9000, access=access)
    spec = tk.DeploySpec(server=server, gpus=2, name="reader")

    done = tk.deploy(spec, "compose", tmp_path / "out")

    stack = yaml.safe_load((done.folder / "compose.yaml").read_text())
    triton = stack["services"]["triton"]
    assert triton["ports"][0].endswith(":-0.0.0.0}:${TRITON_HTTP_PORT:-9000}:8000")
    assert "${TRITON_METRICS_ADDRESS:-127.0.0.1}" in triton["ports"][2]
    (device,) = triton["deploy"]["resources"]["reservations"]["devices"]
    assert device["count"] == 2
    assert triton["read_only"] is True
    assert triton["user"] == "1000:1000"
    assert triton["volumes"][0]["source"] == str(repository)
    scrape = yaml.safe_load((done.folder / "prometheus.yml").read_text())
    assert scrape["scrape_configs"][0]["job_name"] == "reader"
    assert 'job="reader"' in (done.folder / "rules.yml").read_text()
    sources = {
        volume.partition(":")[0]
        for service in stack["services"].values()
        for volume in service.get("volumes", ())
        if isinstance(volume, str)
    }
    for source in sources:
        known = source in stack["volumes"] or (done.folder / source).exists()
        assert known, source


def test_the_load_test_asks_a_model_that_takes_numbers(tmp_path):
    """`decode` takes pictures: random strings are none."""
    repository = cpu_repository(tmp_path / "models")

    done = tk.deploy(repository, "compose", tmp_path / "out")

    stack = yaml.safe_load((done.folder / "compose.yaml").read_text())
    assert done.models[0] == "decode"
    assert stack["services"]["perf"]["command"][:3] == ["perf", "-m", "digits"]


def test_a_quadlet_gets_the_first_gpus(tmp_path):
    repository = gpu_repository(tmp_path / "models", "m")
    spec = tk.DeploySpec(server=tk.ServeSpec(repository=repository), gpus=2)

    done = tk.deploy(spec, "quadlet", tmp_path / "out")

    unit = (done.folder / "triton.container").read_text()
    assert re.findall(r"AddDevice=nvidia\.com/gpu=(\d)", unit) == ["0", "1"]
    assert f"Volume={repository}:/models:ro" in unit
    assert "EnvironmentFile=%h/.config/triton.key" in unit.partition("[Service]")[2]


def test_the_python_of_the_docs_runs(tmp_path, monkeypatch):
    cpu_repository(tmp_path / "my-project" / "model_repository")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "deploy.md").read_text()
    (block,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)

    exec(block, {})

    assert (tmp_path / "manifests-2" / "base" / "hpa.yaml").is_file()


def test_a_path_that_quadlet_cannot_mount_is_refused(tmp_path):
    repository = cpu_repository(tmp_path / "my models")
    spec = tk.DeploySpec(server=tk.ServeSpec(repository=repository))

    with pytest.raises(SpecError, match="cannot mount a path"):
        tk.deploy(spec, "quadlet", tmp_path / "out")


def test_servers_without_a_gpu_see_none():
    spec = tk.DeploySpec(server=tk.ServeSpec(repository=Path("/repository")))
    files = deployment_files(spec, NEEDS, "kubernetes")

    [patch] = yaml.safe_load(files["overlays/cpu/kustomization.yaml"])["patches"]

    [operation] = yaml.safe_load(patch["patch"])
    assert operation["value"] == {"name": "NVIDIA_VISIBLE_DEVICES", "value": "void"}


def test_a_port_with_tls_is_not_announced_as_plain_text(tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=t -keyout {key}"
    subprocess.run(
        ["openssl", *words.split(), "-out", certificate],
        check=True,
        capture_output=True,
    )
    with_tls = tk.Access(grpc_certificate=certificate, grpc_key=key)
    announced = []
    for access in (tk.Access(), with_tls):
        server = tk.ServeSpec(repository=Path("/repository"), access=access)
        files = deployment_files(tk.DeploySpec(server=server), NEEDS, "kubernetes")
        service = yaml.safe_load(files["base/service.yaml"])
        announced.append(service["spec"]["ports"][1].get("appProtocol"))

    assert announced == ["kubernetes.io/h2c", None]


def test_a_name_with_a_blank_is_no_environment_variable():
    with pytest.raises(SpecError, match="'A B=1' is not an environment variable"):
        tk.ServeSpec(repository=Path("/repository"), variables=("A B=1",))
