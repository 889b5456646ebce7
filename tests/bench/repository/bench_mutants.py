"""3,000 mutants against the real server: pytest tests/bench/repository/bench_mutants.py

Prints how often the verdict, and how often the reason, is the server's.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "server"))

from mutants import mutants
from real_core import BACKENDS, real_core

from triton_kit import check_repository

COUNT = 3000
LEAST_AGREEMENT = 0.99


def test_three_thousand_mutants(tmp_path, capsys):
    agreed = reasons = rejected = 0
    disagreements = []
    with real_core(tmp_path / "run") as core:
        for name, files in mutants(seed=1, count=COUNT):
            verdict = core.judge(files, "m")
            finding = check_repository(core.repository, backends=BACKENDS).reason("m")
            if (finding is None) != verdict.accepted:
                disagreements.append(f"{name}: {verdict.reason} | {finding}")
                continue
            agreed += 1
            if finding is not None and not verdict.ending:
                rejected += 1
                reasons += finding.server_text.strip() in verdict.reason
    with capsys.disabled():
        print(f"\nverdict {agreed}/{COUNT}, reason {reasons}/{rejected}")
        print("\n".join(disagreements))

    assert agreed >= LEAST_AGREEMENT * COUNT
