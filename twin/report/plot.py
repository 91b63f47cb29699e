"""Places of figures on a page: what is drawn there, and its markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from twin.report.document import section
from twin.report.figure import Figure

T = TypeVar("T")


class Plot(NamedTuple, Generic[T]):
    """A figure's place on the page of a T."""

    id: str
    title: str
    caption: str
    draw: Callable[[T], Figure | None]
    shape: str = ""
    after: Callable[[T], str] | None = None
    """Markup under the figure."""


def placed(plots: Sequence[Plot[T]], found: T) -> tuple[str, dict[str, Figure]]:
    """(sections of all plots, the figures that there is something to draw in)."""
    figures = {plot.id: plot.draw(found) for plot in plots}
    sections = "".join(_section(plot, figures[plot.id], found) for plot in plots)
    return sections, {id: figure for id, figure in figures.items() if figure is not None}


def _section(plot: Plot[T], figure: Figure | None, found: T) -> str:
    after = "" if plot.after is None else plot.after(found)
    return section(plot.id, plot.title, plot.caption, figure, plot.shape, after)
