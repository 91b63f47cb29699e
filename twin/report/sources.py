"""Everything a report is made from, read from the run folder; what is missing is named, not guessed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from twin.errors import TwinError
from twin.report import data as report_data
from twin.report.data import DeviceRow, ReportData
from twin.report.expected import Expected, expected_of
from twin.report.plans import PlanFacts, plan_facts
from twin.report.span import Span, span_of
from twin.report.telemetry import Curves, curves_of, sample_s
from twin.store import CommandRow, EventRow, StoreReader

FINAL_STATES = ("verified", "rejected", "expired", "diverged", "superseded")


@dataclass(slots=True)
class Sources:
    """The parts of a run; empty parts have a line in `missing`."""

    name: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    data: ReportData = field(default_factory=ReportData)
    span: Span = field(default_factory=Span)
    curves: Curves = field(default_factory=Curves)
    plans: PlanFacts = field(default_factory=PlanFacts)
    expected: dict[str, Expected] = field(default_factory=dict)
    """Series -> what was forecast of it."""
    setpoints: dict[str, Counter[str]] = field(default_factory=dict)
    """Device -> how often an order that was sent ended in each final state."""
    events: list[EventRow] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def currency(self) -> str:
        """The site's currency, from whichever file names it."""
        return self.data.currency or str(self.summary.get("currency", ""))


def gathered(run_dir: Path) -> Sources:
    """Read the folder. Raises TwinError only if it holds nothing of a run."""
    found = Sources(run_dir.resolve().name)
    found.summary = _json(run_dir / "summary.json", found.missing)
    found.manifest = _json(run_dir / "manifest.json", found.missing)
    try:
        found.data = report_data.read(run_dir)
    except TwinError as error:
        found.missing.append(str(error))
    try:
        with StoreReader(run_dir / "telemetry.db") as reader:
            _from_store(found, reader)
    except TwinError as error:
        found.missing.append(f"telemetry.db: {error.what}")
        found.span = span_of(found.data, None)
    if len(found.missing) == 4:
        raise TwinError("holds nothing of a run", where=str(run_dir), mend="name a folder made by `vpptwin run`")
    return found


def _from_store(found: Sources, reader: StoreReader) -> None:
    devices = found.data.devices or [
        DeviceRow(id=id, kind=kind, party="", is_grid="grid" in id) for id, kind in reader.devices().items()
    ]
    found.data.devices = devices
    found.span = span_of(found.data, reader.extent(), sample_s(reader))
    found.curves = curves_of(reader, devices, found.span)
    found.plans = plan_facts(reader, found.data, found.span)
    found.expected = expected_of(reader, found.span)
    found.events = reader.events()
    found.setpoints = endings(reader.commands(), found.span.slot_s)


def endings(commands: Iterable[CommandRow], slot_s: int) -> dict[str, Counter[str]]:
    """Device -> how its orders ended: distinct (device, control, value, slot) that reached the wire, each once."""
    found: dict[str, Counter[str]] = {}
    under_way: set[tuple[str, str, float | None]] = set()
    ended: set[tuple[str, str, float | None, int]] = set()
    for row in commands:
        order = (row.device, row.control, row.value)
        if row.state == "sent":
            under_way.add(order)
        elif row.state in FINAL_STATES and order in under_way:
            under_way.discard(order)
            distinct = (*order, row.ts_us // (slot_s * 1_000_000))
            if distinct not in ended:
                ended.add(distinct)
                found.setdefault(row.device, Counter())[row.state] += 1
    return found


def _json(path: Path, missing: list[str]) -> Mapping[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except OSError as error:
        missing.append(f"{path.name}: not there: {error.strerror}")
    except msgspec.DecodeError as error:
        missing.append(f"{path.name}: damaged: {error}")
    return {}
