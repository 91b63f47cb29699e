"""What becomes of every forecast: its rows go to the store, its notes to the log, the events and the report."""

from __future__ import annotations

import logging
from collections.abc import Callable

from controller.case import FloatArray
from controller.forecast import Forecast
from twin.clock import iso
from twin.store import ForecastRows, Store
from twin.store.rows import BASELINES, MEAN

log = logging.getLogger(__name__)


class ForecastBook:
    """Takes every forecast in; a note is said when it first comes and when it comes back."""

    def __init__(self, store: Store, report: Callable[[str, str], None]) -> None:
        """`report(what, where)` keeps an event."""
        self._store, self._report = store, report
        self._standing: tuple[str, ...] = ()
        self.notes: list[str] = []
        """Sentences for the report, each once, with the time at which it was first true."""
        self._said: set[str] = set()

    def keep(self, forecast: Forecast, issued_us: int) -> None:
        """Store a forecast with its baselines beside, and say what is new to know of it."""
        for name, method in forecast.methods.items():
            source = method.replace("_", "-")
            fan = {MEAN: forecast.mean[name], **forecast.quantiles.get(name, {})}
            self._write(forecast, issued_us, name, source, fan)
            for baseline, rows in zip(BASELINES, (forecast.persistence, forecast.same_weekday), strict=True):
                if baseline != source and name in rows:
                    self._write(forecast, issued_us, name, baseline, {MEAN: rows[name]})
        for note in forecast.notes:
            if note not in self._standing:
                log.warning("forecast of %s: %s", iso(issued_us), note)
                self._report(note, f"forecast {iso(issued_us)}")
            if note not in self._said:
                self.notes.append(f"Forecasts from {iso(issued_us)} on: {note}.")
                self._said.add(note)
        self._standing = forecast.notes

    def _write(self, forecast: Forecast, issued_us: int, name: str, source: str, fan: dict[float, FloatArray]) -> None:
        self._store.write_forecast(
            ForecastRows(
                name,
                issued_us,
                forecast.newest_input_us,
                forecast.start_us,
                forecast.slot_s,
                {level: tuple(row.round(1).tolist()) for level, row in fan.items()},
                source,
            )
        )
