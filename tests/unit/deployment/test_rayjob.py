"""The RayJob of a load test, against the fields that KubeRay's v1 API has."""

import yaml

from deployment_builders import cpu_repository

JOB = {
    *("entrypoint", "runtimeEnvYAML", "submissionMode", "shutdownAfterJobFinishes"),
    *("ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit"),
    "rayClusterSpec",
}
HEAD = {"rayStartParams", "template"}
WORKERS = HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def test_the_load_test_is_a_ray_job_that_ends_with_its_cluster(kit, tmp_path):
    repository, out = cpu_repository(tmp_path / "models"), tmp_path / "out"

    result = kit("deploy", repository, "--to", "kubernetes", "-o", out)

    assert result.exit_code == 0, result.output
    job = yaml.safe_load((out / "load-test" / "rayjob.yaml").read_text())
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    [workers] = cluster["workerGroupSpecs"]
    service = yaml.safe_load((out / "base" / "service.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert {*spec} <= JOB
    assert {*cluster} == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert {*cluster["headGroupSpec"]} == HEAD
    assert {*workers} == WORKERS
    assert spec["shutdownAfterJobFinishes"] is True
    assert f"-u {service['metadata']['name']}:8000 " in spec["entrypoint"]
    for group in (cluster["headGroupSpec"], workers):
        [container] = group["template"]["spec"]["containers"]
        assert container["image"].split(":")[1].startswith(cluster["rayVersion"])
        assert container["resources"]["requests"] == container["resources"]["limits"]
        # KubeRay passes them on as words of `ray start`.
        assert all(isinstance(v, str) for v in group["rayStartParams"].values())
