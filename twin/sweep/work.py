"""The work of one cell, wherever it is done: in this process, in a pool, on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Protocol

from controller.errors import ControllerError
from controller.forecast import forecaster
from controller.plan import Budget
from twin.sweep import policies
from twin.sweep.cells import Cell, Place
from twin.sweep.ground import Ground
from twin.sweep.oracle import Remembered

KEPT_GROUNDS = 2


@dataclass(frozen=True, slots=True)
class Task:
    """One cell to compute."""

    place: Place
    policy: str
    """As `policies.find` knows it."""
    inputs: str
    ground: Ground
    budget: Budget
    method: str
    """Of the forecasts, a name of controller.forecast.METHODS."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that could not be computed, and why."""

    place: Place
    why: str


class Executor(Protocol):
    """Does tasks, in whatever order; ends early when it is closed."""

    def results(self, tasks: Iterable[Task]) -> Iterator[Cell | Failure]:
        """The outcome of every task as it is done. Takes tasks only as fast as they are worked on."""
        ...

    def close(self) -> None:
        """Give up what is still running."""
        ...


class Bench:
    """Computes cells one after the other; forecasts of a span and seed are made once for all its policies."""

    def __init__(self) -> None:
        self._forecasts: dict[tuple[str, int, str], Remembered] = {}

    def do(self, task: Task) -> Cell | Failure:
        """The cell, or why there is none: what a mechanism refuses must not end the sweep."""
        policy = policies.find(task.policy)
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            done = policies.operate(policy, task.ground, self._forecaster(task), task.budget)
        except ControllerError as error:
            return Failure(task.place, str(error))
        return Cell(
            place=task.place,
            inputs=task.inputs,
            netting=done.netting,
            dates=task.ground.dates,
            cost=tuple(day.total for day in done.days),
            parts=tuple(asdict(day) for day in done.days),
            plans=done.plans,
            max_gap=done.max_gap,
            seconds=round(time.perf_counter() - wall, 3),
            cpu_s=round(time.process_time() - cpu, 3),
            notes=done.notes,
        )

    def _forecaster(self, task: Task) -> Remembered:
        key = (task.place.span.start, task.place.seed, task.method)
        if key not in self._forecasts:
            while len(self._forecasts) >= KEPT_GROUNDS:
                del self._forecasts[next(iter(self._forecasts))]
            self._forecasts[key] = Remembered(forecaster(task.method, intervals=False))
        return self._forecasts[key]


class Serial:
    """An executor in this process."""

    def __init__(self) -> None:
        self._bench = Bench()

    def results(self, tasks: Iterable[Task]) -> Iterator[Cell | Failure]:
        """One after the other."""
        return (self._bench.do(task) for task in tasks)

    def close(self) -> None:
        """Nothing is left running."""
