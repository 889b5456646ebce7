"""Repository agents: libraries that the server calls before it loads a model."""

from __future__ import annotations

from triton_kit.repository.check.rules.case import Case, Problem, Problems

# The one that is in NVIDIA's containers.
_SHIPPED = frozenset({"checksum"})
_FOLDER = "/opt/tritonserver/repoagents"


def check_agents(case: Case) -> Problems:
    """A1, A2: each agent's library must be there; an empty list aborts the server."""
    config = case.written
    if not config.HasField("model_repository_agents"):
        return
    agents = config.model_repository_agents.agents
    if not agents:
        yield Problem(
            "A2",
            at=("model_repository_agents",),
            message="the server aborts on model_repository_agents without agents",
            hint="remove model_repository_agents",
        )
    for number, agent in enumerate(agents):
        if agent.name not in _SHIPPED:
            yield Problem(
                "A1",
                f"unable to find 'libtritonrepoagent_{agent.name}.so' for repo agent "
                f"'{agent.name}', searched: {_FOLDER}",
                at=("model_repository_agents", "agents", number),
                hint=f"install the agent into {_FOLDER}, or remove it here",
            )
            return
