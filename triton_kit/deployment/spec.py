"""What to deploy, and where: one value that is valid or does not exist."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import check_image
from triton_kit.serving.spec import ServeSpec
from triton_kit.triton.releases import Release, find_release

Target = Literal["kubernetes", "compose", "kserve", "quadlet"]
DEFAULT_RELEASE = "26.06"
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_MIG = re.compile(r"\d+g\.\d+gb(\.me)?")
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|[KMGT]i?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploySpec:
    """One deployment of a server.

    Attributes:
        server: what to serve, and how; it is the same for every target.
        release: of Triton: its container tag (26.06) or version (2.70).
        name: of the deployment and all that belongs to it, as DNS writes it.
        namespace: of Kubernetes; "" is the one that `kubectl` uses.
        image: holds the repository in /models; "" where a volume holds it.
        claim: the PersistentVolumeClaim with the repository in `models`; "" is
            `NAME-repository`, unless there is an image.
        triton_image: the server's image; "" is NVIDIA's of the release.
        gpus: GPUs of each server.
        mig: instead of whole GPUs, one slice of this profile: `1g.10gb`.
        replicas: the smallest number of servers.
        max_replicas: the largest; None is four times the smallest.
        queue_target_ms: more servers start while requests wait longer than this.
        cpus: that each server gets at least, as Kubernetes writes it: `1`, `500m`.
        memory: the same of memory: `4Gi`; "" is computed from the models.
        drain_s: for how long a server that is to stop still responds, before SIGTERM:
            other machines learn in this time to send to the others.
        monitoring_namespace: where Prometheus runs, the only one that reads metrics.
    """

    server: ServeSpec
    release: str = DEFAULT_RELEASE
    name: str = "triton"
    namespace: str = ""
    image: str = ""
    claim: str = ""
    triton_image: str = ""
    gpus: int = 0
    mig: str = ""
    replicas: int = 2
    max_replicas: int | None = None
    queue_target_ms: float = 10.0
    cpus: str = "1"
    memory: str = ""
    drain_s: int = 15
    monitoring_namespace: str = "monitoring"

    def __post_init__(self) -> None:
        find_release(self.release)
        self._check_names()
        self._check_sizes()
        for image in (self.image, self.triton_image):
            if image:
                check_image(image)
        if self.image and self.claim:
            raise SpecError(
                f"the repository is in the image {self.image} and in the claim "
                f"{self.claim}",
                hint="leave one of --image and --claim out",
            )
        if self.server.more_repositories:
            raise SpecError(
                f"{len(self.server.repositories)} repositories: a deployment has one",
                hint="join them into one folder, or deploy each",
            )

    def _check_names(self) -> None:
        for what, name in {
            "name": self.name,
            "namespace": self.namespace,
            "claim": self.claim,
            "monitoring namespace": self.monitoring_namespace,
        }.items():
            if name and not _NAME.fullmatch(name):
                raise SpecError(
                    f"{what} {name!r}: Kubernetes does not accept it",
                    hint="use at most 40 of a-z, 0-9 and '-', a letter first",
                )
        if not self.name:
            raise SpecError("the name is empty", hint="a deployment needs a name")

    def _check_sizes(self) -> None:
        if self.gpus < 0:
            raise SpecError(f"--gpus {self.gpus}", hint="expected 0 or more")
        if self.gpus and self.mig:
            raise SpecError(
                f"{self.gpus} GPUs and a MIG slice ({self.mig})",
                hint="leave one of --gpus and --mig out",
            )
        if self.mig and not _MIG.fullmatch(self.mig):
            raise SpecError(
                f"--mig {self.mig!r} is no MIG profile",
                hint="`nvidia-smi mig -lgip` lists those of a GPU, such as 1g.10gb",
            )
        least, most = self.replicas, self.most_replicas
        if not 1 <= least <= most:
            raise SpecError(
                f"{least} to {most} replicas: expected at least 1, and at most as many",
                hint="raise --max-replicas, or leave it out",
            )
        for name, unit in (("queue_target_ms", "ms"), ("drain_s", "s")):
            if (time := getattr(self, name)) < 1:
                raise SpecError(f"{name} is {time}", hint=f"expected 1 {unit} or more")
        self._check_quantities()

    def _check_quantities(self) -> None:
        for quantity in (self.cpus, self.memory):
            if quantity and not (
                _QUANTITY.fullmatch(quantity) and re.search(r"[1-9]", quantity)
            ):
                raise SpecError(
                    f"{quantity!r} is no quantity of Kubernetes",
                    hint="write it as 2, 500m or 4Gi",
                )

    @property
    def triton(self) -> Release:
        """The release of Triton."""
        return find_release(self.release)

    @property
    def server_image(self) -> str:
        """The image of the server."""
        return self.triton_image or self.triton.image

    @property
    def most_replicas(self) -> int:
        """The largest number of servers."""
        return 4 * self.replicas if self.max_replicas is None else self.max_replicas

    @property
    def visible_gpus(self) -> int:
        """How many GPUs each server sees: a MIG slice is one."""
        return 1 if self.mig else self.gpus
