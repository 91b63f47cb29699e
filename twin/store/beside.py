"""How commands, plans, forecasts and events are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from twin.store.rows import CommandRow, EventRow, ForecastRows, PlanRow


def _plan_values(row: PlanRow) -> list[tuple[object, ...]]:
    text = msgspec.json.encode(row.plan, order="deterministic").decode()
    return [(row.plan.id, row.stage, row.issued_us, row.plan.start_us, row.newest_input_us, text)]


def _forecast_values(row: ForecastRows) -> list[tuple[object, ...]]:
    """One row per quantile: a row per slot would be most of what a run writes."""
    head = (row.series, row.issued_us, row.source)
    rest = (row.newest_input_us, row.start_us, row.slot_s)
    return [(*head, at, *rest, msgspec.json.encode(row.quantiles[at]).decode()) for at in sorted(row.quantiles)]


STATEMENTS: dict[type, tuple[tuple[str, Callable[[Any], Iterable[tuple[object, ...]]]], ...]] = {
    CommandRow: (
        (
            "INSERT INTO command (ts_us, device, control, value, state, reason, plan, readback) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            lambda row: [msgspec.structs.astuple(row)],
        ),
    ),
    PlanRow: (
        (
            "INSERT OR REPLACE INTO plan (id, stage, issued_us, start_us, newest_input_us, json) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            _plan_values,
        ),
    ),
    ForecastRows: (
        (
            # A slot's forecast of the day ahead and of the window are issued at once and agree: the longer one stays.
            "INSERT INTO forecast_issue "
            "(series, issued_us, source, quantile, newest_input_us, start_us, slot_s, slots) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (series, issued_us, source, quantile) DO UPDATE "
            "SET newest_input_us = excluded.newest_input_us, start_us = excluded.start_us, slots = excluded.slots "
            "WHERE json_array_length(excluded.slots) >= json_array_length(slots)",
            _forecast_values,
        ),
    ),
    EventRow: (
        (
            'INSERT INTO event (ts_us, level, what, "where") VALUES (?, ?, ?, ?)',
            lambda row: [msgspec.structs.astuple(row)],
        ),
    ),
}
"""Row type -> its statements, each with the function giving its value tuples."""
