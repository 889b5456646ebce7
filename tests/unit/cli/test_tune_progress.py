"""What tune shows while it searches."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from triton_kit.cli.tune_progress import live_view, showing_search
from triton_kit.tuning.evidence import Ask
from triton_kit.tuning.progress import PhaseWatch
from triton_kit.tuning.space import Space, SpaceField
from triton_kit.tuning.spec import TuneSpec
from triton_kit.tuning.trial import TuneTrial
from triton_kit.tuning.tune import TuneProgress

SPEC = TuneSpec(model="m", repository=Path("models"), output=Path("out"))


def trial(number):
    figures = {"throughput": 100.0 * number, "p50": 5e3, "p99": 9e3}
    return TuneTrial(figures=figures, value=100.0 * number)


def progress(count):
    space = Space(fields=(SpaceField(name="instances", values=(1, 2, 4), default=1),))
    trials = [
        (Ask(point=(n % 3 + 1,), stage="climb"), trial(n + 1)) for n in range(count)
    ]
    return TuneProgress(
        space=space, objective="throughput", trials=trials, left=7, left_s=21.0
    )


def shown(*parts):
    screen = Console(width=100, file=io.StringIO())
    screen.print(live_view(*parts))
    return screen.file.getvalue()


def watched():
    """A watch, and the phases that it told of."""
    phases = []
    return PhaseWatch(phases.append), phases


def test_the_phase_is_shown_before_the_first_trial():
    watch, phases = watched()
    watch.starting(SPEC)

    assert shown(None, phases[0]).strip() == "starting the server ..."


def test_the_live_view_has_the_trials_the_best_and_the_phase():
    watch, phases = watched()
    watch.stage("final")

    text = shown(progress(14), phases[0])

    assert text.splitlines()[-1].startswith("last rounds: the best points")
    assert "best so far: instances=2: 1,400" in text
    assert "14 trials; at most 21 s left" in text
    assert "1,300/s" in text
    assert "200/s" not in text.splitlines()[1]  # the first trials have scrolled away


def test_a_phase_is_told_once_and_again_after_a_conversion():
    watch, phases = watched()

    for stage in ("default", "climb", "climb", "sample", "halving", "final"):
        watch.stage(stage)
    watch.converting("m: precision=fp16")
    watch.converting("")

    names = [phase.name for phase in phases]
    assert names[:5] == ["default", "climb", "spread", "spread", "final"]
    assert names[5:] == ["convert", "final"]
    assert phases[5].text == "converting m: precision=fp16"


def test_a_log_has_a_line_for_each_phase(capfd):
    with showing_search() as screen:
        watch = PhaseWatch(screen.on_phase)
        watch.starting(SPEC)
        watch.stage("default")
        watch.converting("m: precision=fp16")
        watch.converting("")
        screen.on_progress(progress(1))

    out, errors = capfd.readouterr()
    assert out == ""
    assert errors.splitlines()[:3] == [
        "starting the server",
        "measuring the default",
        "converting m: precision=fp16",
    ]
    assert errors.splitlines()[3].startswith("1 of at most 8, climb: instances=1: ")


@pytest.mark.parametrize("quiet", [False, True])
def test_a_terminal_shows_what_is_asked_first(tmp_path, quiet):
    """No server listens there: the search ends in its first phase."""
    main_end, terminal = pty.openpty()
    words = ["tune", "m", "-u", "127.0.0.1:9", "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-m", "triton_kit", *words, *["-q"] * quiet],
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "COLUMNS": "100"},
    ) as process:
        os.close(terminal)
        text = b""
        try:
            while part := os.read(main_end, 65536):
                text += part
        except OSError:  # as a terminal ends on Linux
            pass
    os.close(main_end)

    assert process.returncode == 6
    assert (b"asking the server at 127.0.0.1:9 ..." in text) != quiet
    assert b"cannot connect" in text
