"""A repository is checked for the release that will serve it, before it is started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from triton_kit.errors import RepositoryError
from triton_kit.repository.check.check import check_repository
from triton_kit.repository.check.request_size import largest_request_bytes
from triton_kit.repository.check.target import Target
from triton_kit.serving.spec import ServeSpec
from triton_kit.serving.spec_checks import ALL_MODELS
from triton_kit.serving.startup import wanted_models
from triton_kit.triton.releases import Release

_MOST_REASONS = 5


def repository_check(spec: ServeSpec, *, gpus: int) -> Callable[[Release], None]:
    """Return the check that a launcher makes once it knows the release.

    Args:
        spec: what is served.
        gpus: how many GPUs the server sees.
    """

    def check(release: Release) -> None:
        """Refuse what the release would not load.

        Raises:
            RepositoryError: the check rejects a model that is to be served.
        """
        report = check_repository(
            spec.repositories,
            server=release.release,
            gpus=gpus,
            strict=spec.strict_model_config,
            config_name=spec.features.config_name,
            namespacing=spec.features.namespacing,
        )
        is_partial = spec.model_control == "explicit" and ALL_MODELS not in spec.models
        rejected = [
            model
            for model in report.rejected_models()
            if not is_partial or model in spec.models
        ]
        if not rejected:
            return
        reasons = [
            f"model {model!r}: {finding.message}" if finding else f"model {model!r}"
            for model in rejected[:_MOST_REASONS]
            for finding in (report.reason(model),)
        ]
        places = " ".join(map(str, spec.repositories))
        raise RepositoryError(
            f"Triton {release.release} would not load {len(rejected)} of "
            f"{len(report.models)} models:\n" + "\n".join(reasons),
            hint=f"triton-kit validate {places} --release {release.release}",
        )

    return check


def with_request_limit(spec: ServeSpec, release: Release) -> ServeSpec:
    """Return the spec with the largest request that its models take.

    Models that are loaded later may have other shapes, so there is no limit then.

    Raises:
        RepositoryError: a repository has no model.
    """
    if spec.access.max_request_bytes or spec.model_control != "none":
        return spec
    target = Target(
        server=release.release,
        strict=spec.strict_model_config,
        config_name=spec.features.config_name,
    )
    size = largest_request_bytes(spec.repositories, wanted_models(spec), target)
    return replace(spec, access=replace(spec.access, models_request_bytes=size))
