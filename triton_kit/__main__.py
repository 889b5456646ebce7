"""`python -m triton_kit` is `triton-kit`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  # says so instead of a SyntaxError
    sys.exit(
        "Error: triton-kit needs Python 3.11 or newer, this is "
        + sys.version.split()[0]
        + "\n  hint: python3.11 -m venv .venv && .venv/bin/pip install triton_kit"
    )

from triton_kit.cli import main

main(prog_name="triton-kit")
