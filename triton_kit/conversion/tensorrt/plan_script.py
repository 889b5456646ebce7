"""How missing plans are built elsewhere: a shell script, and a Kubernetes Job."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from triton_kit.conversion.tensorrt.prebuilt import MissingPlan

PLAN_SCRIPT, PLAN_JOB = "build-plans.sh", "build-plans-job.yaml"
_HEAD = """#!/bin/sh
# Builds the plans that are missing; needs docker and the target's GPU.
# Copy this folder to the machine, run the script, and copy the folder back.
# A plan that is there already is not built again.
set -eu
cd "$(dirname "$0")"
"""
_ONE = """
if [ -s {plan} ]; then
  echo "{plan}: is there"
else
  docker run --rm --gpus device=0 -v "$PWD"/{folder}:/work {image} \\
    trtexec --saveEngine=/work/{partial} {words}
  mv {folder}/{partial} {plan}
fi
"""


def write_plan_script(plans: Sequence[MissingPlan], folder: Path) -> Path:
    """Write the script and the Job into a folder that the plans' folders are below."""
    script = folder / PLAN_SCRIPT
    script.write_text(_HEAD + "".join(_command(plan, folder) for plan in plans))
    script.chmod(0o755)
    job = yaml.safe_dump(_job(plans, folder), sort_keys=False)
    (folder / PLAN_JOB).write_text(f"# The claim `plans` holds this folder.\n{job}")
    return script


def _command(plan: MissingPlan, folder: Path) -> str:
    where = os.path.relpath(plan.plan.parent, folder)
    return _ONE.format(
        plan=shlex.quote(os.path.join(where, plan.plan.name)),  # noqa: PTH118  as text
        folder=shlex.quote(where),
        image=plan.image,
        partial=shlex.quote(f"{plan.plan.name}.partial"),
        words=shlex.join(plan.words),
    )


def _job(plans: Sequence[MissingPlan], folder: Path) -> dict[str, object]:
    """Return a Job with one container for each plan; they run one after the other."""
    containers = [_container(index, plan, folder) for index, plan in enumerate(plans)]
    claim = {"name": "plans", "persistentVolumeClaim": {"claimName": "plans"}}
    pod = {
        "restartPolicy": "Never",
        "initContainers": containers[:-1],
        "containers": containers[-1:],
        "volumes": [claim],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "build-plans"},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}},
    }


def _container(index: int, plan: MissingPlan, folder: Path) -> dict[str, object]:
    where = os.path.relpath(plan.plan.parent, folder)
    name, partial = plan.plan.name, f"{plan.plan.name}.partial"
    engine = shlex.quote(f"--saveEngine=/work/{partial}")
    text = (
        f"[ -s {shlex.quote(name)} ] || {{ trtexec {engine} {shlex.join(plan.words)} "
        f"&& mv {shlex.quote(partial)} {shlex.quote(name)}; }}"
    )
    mount = {"name": "plans", "mountPath": "/work"}
    return {
        "name": f"plan-{index}",
        "image": plan.image,
        "workingDir": "/work",
        "command": ["sh", "-ec", text],
        "resources": {"limits": {"nvidia.com/gpu": 1}},
        "volumeMounts": [mount if where == "." else {**mount, "subPath": where}],
    }
