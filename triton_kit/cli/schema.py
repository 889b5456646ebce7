"""`triton-kit schema`."""

from __future__ import annotations

import json
from pathlib import Path

from triton_kit.cli.command import kit_command
from triton_kit.cli.options import output_option
from triton_kit.cli.output import echo


@kit_command(examples=("triton-kit schema -o triton-kit.schema.json",))
@output_option("File to write.  [default: standard output]")
def command(output: Path | None) -> None:
    """Print the JSON Schema of triton-kit.yaml, for editors.

    For the YAML extension of VS Code, begin triton-kit.yaml with the line
    `# yaml-language-server: $schema=triton-kit.schema.json`.
    """
    from triton_kit.files import write_whole
    from triton_kit.project.schema import project_schema

    text = json.dumps(project_schema(), indent=2)
    if output is None:
        echo(text)
    else:
        write_whole(output, f"{text}\n")
