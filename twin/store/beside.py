"""How commands, plans, forecasts and events are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from twin.store.rows import CommandRow, EventRow, ForecastRows, PlanRow


def _plan_values(row: PlanRow) -> list[tuple[object, ...]]:
    text = msgspec.json.encode(row.plan, order="deterministic").decode()
    return [(row.plan.id, row.stage, row.issued_us, row.plan.start_us, row.newest_input_us, text)]


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
            "INSERT INTO forecast_issue (series, issued_us, source, newest_input_us) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (series, issued_us) DO UPDATE "
            "SET source = excluded.source, newest_input_us = excluded.newest_input_us",
            lambda row: [(row.series, row.issued_us, row.source, row.newest_input_us)],
        ),
        (
            "INSERT OR REPLACE INTO forecast_value (issue, quantile, valid_from_us, value) "
            "SELECT id, ?3, ?4, ?5 FROM forecast_issue WHERE series = ?1 AND issued_us = ?2",
            ForecastRows.rows,
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
