"""The embedded time-series store: one SQLite file, one writer thread, any number of readers."""

from twin.store.errors import StoreError
from twin.store.reader import StoredReading, StoreReader
from twin.store.rows import CommandRow, EventRow, ForecastRows, PlanRow
from twin.store.writer import Counts, Store

__all__ = [
    "CommandRow",
    "Counts",
    "EventRow",
    "ForecastRows",
    "PlanRow",
    "Store",
    "StoreError",
    "StoreReader",
    "StoredReading",
]
