"""What every recipe does, as tests: a class per recipe inherits them.

They run the commands of the recipe's README.md as they stand: build, validate, serve,
test, client.py, perf. The recipe's class adds its accuracy and a request that fails.
"""

import json
import re
import shlex
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from project_builds import ask
from tritonclient.http import InferenceServerClient
from tritonclient.utils import InferenceServerException

import triton_kit
from triton_kit.cli import main
from triton_kit.cli.serve import command as serve_command
from triton_kit.cli.server_options import server_spec
from triton_kit.project.load import load_project
from triton_kit.serving.access import Access
from triton_kit.serving.features import Features
from triton_kit.serving.spec import ServeSpec

HTTP, GRPC = "127.0.0.1:8000", "127.0.0.1:8001"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Served:
    """A recipe's project, and the server of its repository."""

    folder: Path
    server: triton_kit.Server
    client: InferenceServerClient

    def ask(self, model, given, **options):
        return ask(self.client, model, given, **options)

    def refusal(self, model, given, **options):
        """Return the error of a request that has to fail."""
        with pytest.raises(InferenceServerException) as caught:
            self.ask(model, given, **options)
        return str(caught.value)


class RecipeTests:
    """Set `recipe`, and write the tests of its responses."""

    recipe: str

    @pytest.fixture(scope="class")
    @classmethod
    def served(cls, tmp_path_factory):
        folder = tmp_path_factory.mktemp("recipe") / "project"
        cache = str(tmp_path_factory.mktemp("cache"))
        kit(folder.parent, "new", cls.recipe, folder)
        before, serve, _ = commands(folder)
        for words in before:
            kit(folder, *words, TRITON_KIT_CACHE=cache)
        with chdir(folder), serve_command.make_context("serve", serve[1:]) as context:
            known = {
                f.name for kind in (ServeSpec, Access, Features) for f in fields(kind)
            }
            given = {n: v for n, v in context.params.items() if n in known}
            spec = server_spec((folder / "model_repository",), given)
            ports = {"http_port": None, "grpc_port": None, "metrics_port": None}
            spec = replace(spec, **ports)
        with (
            triton_kit.serve(spec) as server,
            InferenceServerClient(server.http_url.removeprefix("http://")) as client,
        ):
            yield Served(folder, server, client)

    def test_the_commands_of_the_readme_work_on_the_server(self, served):
        _, _, after = commands(served.folder)
        done = [words[0] for words in after]
        for words in after:
            addressed = [addresses(served.server, word) for word in words]
            if words[0] == "python":
                assert run_client(served.folder, served.server, addressed)
            elif words[0] == "perf":
                url = load_url(served, addressed)
                shown = kit(served.folder, *addressed, "--url", url, "--json")
                errors = [run["errors"] for run in json.loads(shown)["runs"]]
                assert set(errors) == {0}, shown
            else:
                kit(served.folder, *addressed)
        assert {"python", "perf", "test"} <= set(done)

    def test_a_gpu_target_is_planned(self, served):
        planned = kit(served.folder, "build", "-t", "gpu", "--dry-run")

        assert planned


def commands(folder):
    """Return the README's commands before `serve`, `serve` itself, and those after."""
    blocks = "".join(BLOCK.findall((folder / "README.md").read_text()))
    lines = [shlex.split(line, comments=True) for line in blocks.splitlines()]
    words = [line[1:] if line[0] == "triton-kit" else line for line in lines if line]
    [at] = [number for number, one in enumerate(words) if one[0] == "serve"]
    return words[:at], words[at], words[at + 1 :]


def addresses(server, word):
    """Put the server's own addresses for those that the README names."""
    http = server.http_url.removeprefix("http://")
    return word.replace(HTTP, http).replace(GRPC, server.grpc_url)


def kit(folder, *words, **env):
    with chdir(folder):
        argv = [str(word) for word in words]
        done = CliRunner().invoke(main, argv, prog_name="triton-kit", env=env)
    assert done.exit_code == 0, f"{words}\n{done.output}"
    return done.stdout


def load_url(served, words):
    """Return the address for `perf --load NAME`: that of the load's protocol."""
    load = load_project(served.folder).spec.loads[words[words.index("--load") + 1]]
    return addresses(served.server, GRPC if load.protocol == "grpc" else HTTP)


def run_client(folder, server, words):
    """Run client.py, which asks the default port unless it is given another."""
    is_grpc = GRPC in (folder / words[1]).read_text()
    url = addresses(server, GRPC if is_grpc else HTTP)
    done = subprocess.run(
        [sys.executable, *words[1:], "--url", url],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
