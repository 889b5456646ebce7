"""No dependency's floor admits a version that is known to be vulnerable."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(root):
    script = root / "scripts" / "check_advisories"
    return subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False
    )


def test_no_floor_admits_a_known_hole_and_every_licence_is_permissive():
    done = check(ROOT)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_floor_that_is_too_low_is_named(tmp_path):
    (tmp_path / "scripts").mkdir()
    for name in ("check_advisories", "advisories.csv"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    text = (ROOT / "setup.cfg").read_text()
    assert "filelock >=3.20.3" in text
    low = text.replace("filelock >=3.20.3", "filelock >=3.20.2")
    (tmp_path / "setup.cfg").write_text(low)

    done = check(tmp_path)

    assert done.returncode == 1
    assert done.stdout.count("filelock") == 1
    assert "CVE-2026-22701" in done.stdout


def test_every_requirement_has_a_floor():
    script = str(ROOT / "scripts" / "check_advisories")
    floors = runpy.run_path(script)["floors"]()

    without = {name for name, lowest in floors.items() if lowest is None}
    assert without == {"triton-kit", "types-psutil", "types-pyyaml"}
