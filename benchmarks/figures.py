"""What a benchmark prints: a figure, its goal, and a reference measured on the same machine in the same minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `at_most` and `at_least` are goals; `reference` is what it is compared with."""

    what: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    reference: float | None = None
    beside: str = ""
    """What the reference is."""

    @property
    def goal(self) -> str:
        """The goal and whether it was met."""
        if self.at_most is not None:
            return f"<= {_number(self.at_most)} {'met' if self.value <= self.at_most else 'MISSED'}"
        if self.at_least is not None:
            return f">= {_number(self.at_least)} {'met' if self.value >= self.at_least else 'MISSED'}"
        return ""

    @property
    def cells(self) -> list[str]:
        """The row of a table."""
        compared = ""
        if self.reference:
            compared = f"{self.value / self.reference:.2f} x {self.beside} ({_number(self.reference)} {self.unit})"
        return [self.what, f"{_number(self.value)} {self.unit}", self.goal, compared]


HEAD = ("figure", "measured", "goal", "beside")


def figures(found: Iterable[Figure]) -> None:
    """Print figures as a table."""
    table(HEAD, [one.cells for one in found])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, columns aligned; numbers to the right."""
    widths = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
    print(_line(head, widths))
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        print(_line(row, widths))
    print()


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.rjust(width) if cell[:1] in "-0123456789" else cell.ljust(width)
        for cell, width in zip(row, widths, strict=True)
    )
    return "| " + " | ".join(cells) + " |"


def _number(value: float) -> str:
    """Three or four figures that say something."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 100 else 2 if abs(value) >= 1 else 4
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
