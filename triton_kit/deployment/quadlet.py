"""A workload becomes a unit of Podman's Quadlet: a systemd service of one machine."""

from __future__ import annotations

import re
import shlex

from triton_kit.deployment.compose import CLUSTER_ONLY
from triton_kit.deployment.render import render
from triton_kit.deployment.workload import (
    TLS,
    Workload,
    refuse_fields,
    refuse_settings,
)
from triton_kit.errors import SpecError
from triton_kit.serving.containers.container import KEY_VARIABLE, MODELS, PORTS

_PLAIN = re.compile(r"[\w@%+=:,./${}-]+", re.ASCII)


def quadlet_files(work: Workload) -> dict[str, str]:
    """Return the unit and its README by their path in the folder.

    Raises:
        SpecError: a setting has no effect there, or a path cannot be mounted.
    """
    spec = work.spec
    refuse_fields(spec, (*CLUSTER_ONLY, "image"), "a quadlet")
    refuse_settings(spec.server, ("key_file",), "a quadlet")
    sources = {MODELS: spec.server.repository}
    sources |= {f"{TLS}/{name}": path for name, path in work.tls_files.items()}
    for path in sources.values():
        if not _PLAIN.fullmatch(str(path.resolve())) or ":" in str(path.resolve()):
            raise SpecError(
                f"{path.resolve()}: Quadlet cannot mount a path with such characters",
                hint="move it to a path of letters, digits and -_./",
            )
    access = work.server.access
    ports = []
    for kind, inside in PORTS.items():
        address = access.metrics_address if kind == "metrics" else access.address
        host = f"[{address}]" if ":" in address else address
        ports.append(f"{host}:{work.server.ports[f'{kind}-port'] or inside}:{inside}")
    text = render(
        "quadlet/unit.container.j2",
        spec=spec,
        work=work,
        name=spec.name,
        words=[systemd_word(w) for w in work.argv(_literal, f"${{{KEY_VARIABLE}}}")],
        mounts=[f"{path.resolve()}:{target}:ro" for target, path in sources.items()],
        ports=ports,
        variables=[
            systemd_word(f"{name}={_literal(value)}")
            for name, value in work.variables.items()
        ],
        health=_literal(shlex.join(work.ready_command)),
    )
    readme = render("quadlet/README.md.j2", spec=spec, work=work, name=spec.name)
    return {f"{spec.name}.container": text, "README.md": readme}


def systemd_word(word: str) -> str:
    """Return a word as systemd's command lines have it, quoted if need be."""
    if _PLAIN.fullmatch(word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _literal(word: str) -> str:
    """Return a word without variables and specifiers of systemd."""
    return word.replace("$", "$$").replace("%", "%%")
