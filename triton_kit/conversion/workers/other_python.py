"""Libraries that require other versions than the kit's run in a Python of their own."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec

from triton_kit.errors import MissingExtraError, SpecError


@dataclass(frozen=True, slots=True)
class OtherPython:
    """A Python that has some modules.

    Attributes:
        variable: of the environment; names the program.
        modules: what must be installed where the variable is not set: in ours.
        what: they in words.
        extra: of the kit's, which installs them.
    """

    variable: str
    modules: tuple[str, ...]
    what: str
    extra: str

    def program(self) -> str:
        """Return the program to start.

        Raises:
            SpecError: the variable names none.
            MissingExtraError: it is not set, and ours lacks a module.
        """
        if given := os.environ.get(self.variable):
            if shutil.which(given) is None:
                raise SpecError(
                    f"{self.variable} is {given}, which cannot be started",
                    hint="let it name the python of an environment, .../bin/python",
                )
            return given
        if any(find_spec(module) is None for module in self.modules):
            raise MissingExtraError(
                f"{self.what} (or {self.variable}, a Python that has it)",
                extra=self.extra,
            )
        return sys.executable
