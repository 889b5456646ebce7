"""Prompts at their times, on several servers."""

import json

import pytest
from token_server import token_server

from triton_kit.cli.perf import command
from triton_kit.cli.perf.spec import perf_spec
from triton_kit.loadtest.run.measure import measure

GAP_MS = 200


@pytest.mark.parametrize("processes", [1, 2])
def test_each_prompt_is_sent_once_at_its_time_to_the_next_server(tmp_path, processes):
    path = tmp_path / "prompts.jsonl"
    lines = [{"prompt": f"p{n}", "timestamp": n * GAP_MS} for n in range(5)]
    path.write_text("\n".join(map(json.dumps, lines)))
    words = ["--fixed-schedule", "--endpoint", "chat", "--input-data", str(path)]
    with token_server() as (one, url), token_server() as (other, other_url):
        argv = ["-m", "m", "-u", url, "-u", other_url, *words]
        argv += ["--processes", str(processes)]
        result = measure(perf_spec(command.make_context("perf", argv).params))
    came_s = {
        asked["messages"][0]["content"]: at_s
        for server in (one, other)
        for (_, asked), at_s in zip(server.asked, server.asked_s, strict=True)
    }

    assert result.runs[0].recording.succeeded == 5
    assert len(one.asked) + len(other.asked) == 5
    starts_s = [came_s[f"p{number}"] - number * GAP_MS / 1000 for number in range(5)]
    # On a busy machine one may come late.
    assert max(starts_s) - min(starts_s) < 1.5 * GAP_MS / 1000
    assert [asked["messages"][0]["content"] for _, asked in other.asked] == ["p1", "p3"]
