"""`triton-kit doctor --security URL` asks a real server, and changes nothing there."""

from dataclasses import replace

import pytest

from triton_kit.security import risks_of_server
from triton_kit.serving.access import Access
from triton_kit.serving.embedded import running
from triton_kit.serving.spec import ServeSpec

pytestmark = pytest.mark.server


def messages(url):
    return [risk.message for risk in risks_of_server(url)]


def test_a_server_with_open_control_is_named(small_repository, kit):
    spec = ServeSpec(
        repository=small_repository,
        model_control="explicit",
        models=("*",),
        access=Access(open_control=True, client_shared_memory=True),
    )
    with running(spec) as server:
        before = server.control.index()
        found = messages(server.http_url)
        shown = kit("doctor", "--security", server.http_url)
        after = server.control.index()

    assert "published vulnerabilities that later releases fix" in found[0]
    assert [m for m in found if m.startswith("every client may")] == [
        "every client may load and unload models, without a key",
        "every client may change the settings of traces, without a key",
        "every client may change the settings of the log, without a key",
        "every client may have the server map shared memory, without a key",
    ]
    assert not any("other machines" in message for message in found)
    assert (shown.exit_code, shown.stdout.count("hint: ")) == (1, 5)
    assert before == after


def test_keys_close_control(small_repository):
    spec = ServeSpec(repository=small_repository)
    explicit = replace(spec, model_control="explicit", models=("*",))
    with running(explicit) as server:
        [cves] = messages(server.http_url)

    assert "CVE-" in cves
