"""What is wrong with a configuration file: every finding at once, each with its line and field."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twin.exits import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding. `line` counts from 1; 0 = the file as a whole."""

    line: int
    field: str
    what: str
    mend: str = ""

    def text(self, file: str) -> str:
        """`homes.yaml:41 devices[7].unit: what; mend`."""
        place = f"{file}:{self.line}" if self.line else file
        head = f"{place} {self.field}" if self.field else place
        return f"{head}: {self.what}; {self.mend}" if self.mend else f"{head}: {self.what}"


class DocumentError(UsageError):
    """All problems of one file; str() lists them, one line each, in the order of the file."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        self.file = file
        self.problems = tuple(sorted(set(problems)))
        super().__init__("\n".join(problem.text(file) for problem in self.problems))
