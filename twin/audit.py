"""Verification of a whole run: its ledger, and that its telemetry is the telemetry that was settled.

Every stored reading must be a leaf of the batch whose root stands in the ledger, every metered energy must follow from
the stored registers, roll-ups and newest readings from the stored readings. A reading that was changed is named: the
recording holds what was received, and what makes the root right again is what was settled.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from devices.readings import Quality
from ledger import across, batch, places, show
from ledger.across import Audit
from ledger.quiet import without_collector
from ledger.verify import MAX_FINDINGS, Finding
from twin.metering import COUNTERS, energies, leaves_of
from twin.store import StoreReader

STORE = "telemetry.db"
SUMMARY = "summary.json"
"""Written when a run has ended in order."""

_ABOUT_A_SLOT = re.compile(r"(prices of slot|slot) (\d+)")
"""Where a finding stands that is about a slot of which the main log does not speak (ledger.across)."""
_WHOLE_LOG = 10**9
Batch = Mapping[str, Any]
"""Body of the latest metering entry of a device and slot."""
Batches = dict[str, dict[int, Batch]]
"""Device -> start of slot -> batch."""


def audit(folder: Path, heads: Sequence[str] = ()) -> Audit:
    """Verify a run folder, or a ledger folder alone (then without telemetry); its removal from a run is a finding.

    Raises LedgerUnreadable if there is no ledger, StoreError if there is a telemetry.db that cannot be read.
    """
    store = folder / STORE
    if not store.exists():
        return _without_telemetry(folder, across.verify_all(folder, heads=heads))
    with without_collector(), ThreadPoolExecutor(1) as pool, StoreReader(store) as reader:
        derived = pool.submit(_derived, store)  # SQLite works beside the rest
        found = across.verify_all(folder, heads=heads)
        try:
            extra = list(_telemetry(reader, folder))
        except sqlite3.Error as error:
            extra = [Finding("readings", STORE, f"cannot be read: {error}")]
        except (KeyError, TypeError, ValueError):
            if found.ok:
                raise
            extra = [Finding("readings", STORE, "cannot be compared with a ledger whose entries do not hold")]
        said = _without_half_said(folder, found.findings)
        findings = (*said, *extra, *derived.result())[:MAX_FINDINGS]
    return replace(found, ok=not findings, findings=findings)


def _without_telemetry(folder: Path, found: Audit) -> Audit:
    """A ledger folder says nothing of telemetry; a run folder whose ledger settled readings must have them."""
    ledger = places.ledger_folder(folder)
    if ledger == folder:
        return found
    settled = sum(body["count"] for body in across.bodies(ledger, ("metering",))) if found.ok else -1
    if not settled:
        return found
    what = f"{settled} readings were settled, none" if settled > 0 else "none of the settled readings"
    missing = Finding("readings", STORE, f"is missing: {what} can be checked")
    findings = (*found.findings, missing)[:MAX_FINDINGS]
    return replace(found, ok=False, findings=findings)


def _without_half_said(folder: Path, findings: Sequence[Finding]) -> list[Finding]:
    """Findings, but for what a killed run had begun to say: prices and settlements go to the parties' logs first and to
    the main log last, which makes them count. What lies beyond the main log's newest word was never acknowledged."""
    if (folder / SUMMARY).exists() or not any(finding.layer == "across" for finding in findings):
        return list(findings)
    newest = {kind: _newest_slot_us(folder, kind) for kind in ("price", "clearing")}
    if not newest["price"]:
        return [finding for finding in findings if finding.layer != "across"]  # killed while its parties registered
    kept = []
    for finding in findings:
        about = _ABOUT_A_SLOT.fullmatch(finding.where) if finding.layer == "across" else None
        if about is None or int(about[2]) <= newest["clearing" if about[1] == "slot" else "price"]:
            kept.append(finding)
    return kept


def _newest_slot_us(folder: Path, kind: str) -> int:
    """The last slot that the main log prices or clears; 0 if there is none."""
    found = show.entries(folder, type=kind, limit=_WHOLE_LOG, name=places.MAIN)
    return max((int(entry["body"]["slot"]) for entry in found), default=0)


def _telemetry(reader: StoreReader, folder: Path) -> Iterator[Finding]:
    batches, tick_us, registered = _metered(places.ledger_folder(folder))
    until_us = _vouched_until_us(folder, batches, registered)
    disagreeing: dict[str, list[int]] = {}
    kinds = reader.devices()
    for device in sorted(batches.keys() | kinds.keys()):
        said = batches.get(device, {})
        stored = _Stored.read(reader, device, kinds.get(device, ""))
        if wrong := [start_us for start_us in _wrong_batches(stored, said) if start_us < until_us]:
            disagreeing[device] = wrong
        else:
            yield from _wrong_energies(device, stored, said, tick_us)
    if disagreeing:
        yield from _named(reader, folder, batches, disagreeing)


def _derived(store: Path) -> list[Finding]:
    """Roll-ups and newest readings beside the raw rows, over a connection of its own."""
    try:
        with StoreReader(store) as reader:
            return [Finding("readings", STORE, line) for line in reader.findings()]
    except (sqlite3.Error, ValueError) as error:
        return [Finding("readings", STORE, f"cannot be read: {error}")]


class _Stored(NamedTuple):
    """A device's stored readings as columns: what makes leaves and energies, for whole runs at once."""

    times_us: list[int]
    leaves: list[bytes]
    registers: dict[str, list[tuple[int, int]]]
    bad_us: list[int]

    @classmethod
    def read(cls, reader: StoreReader, device: str, kind: str) -> _Stored:
        points = sorted(reader.columns.get(kind, ()))
        rows = reader.rows(device, points)
        return cls(
            [row[0] for row in rows],
            leaves_of(points, rows),
            {name: _samples(rows, points, name) for name in COUNTERS},
            [row[0] for row in rows if row[2] != Quality.GOOD],
        )


def _samples(rows: Sequence[tuple[Any, ...]], points: Sequence[str], name: str) -> list[tuple[int, int]]:
    """(time, register) of one counter."""
    if name not in points:
        return []
    at = 4 + points.index(name)
    return [(row[0], int(row[at])) for row in rows if row[at] is not None]


def _metered(ledger: Path) -> tuple[Batches, int, set[str]]:
    """The latest batch of every device and slot over all logs, how often devices report (µs), who is registered."""
    batches: Batches = {}
    facts: dict[str, Any] = {}
    registered: set[str] = set()
    for entry in across.bodies(ledger, ("genesis", "registration", "metering")):
        if "device" in entry:
            batches.setdefault(entry["device"], {})[entry["start"]] = entry
        elif "devices" in entry:
            registered.update((*entry["devices"], *filter(None, [entry["meter"]])))
        else:
            facts = entry["facts"]
    return batches, int(facts.get("tick_s", 0)) * 1_000_000, registered


def _vouched_until_us(folder: Path, batches: Batches, registered: set[str]) -> float:
    """Where the ledger's word ends. A run that was killed leaves readings of a slot that it never closed, or had closed
    for some of its devices only: stored, but not settled yet. A run that ended has closed everything."""
    if (folder / SUMMARY).exists():
        return float("inf")
    ends = [
        max((body["start"] + body["period_s"] * 1_000_000 for body in batches.get(device, {}).values()), default=0)
        for device in registered
    ]
    return float(min(ends, default=0))


def _slot_us(said: Mapping[int, Batch]) -> int:
    return int(next(iter(said.values()))["period_s"]) * 1_000_000


def _wrong_batches(stored: _Stored, said: Mapping[int, Batch]) -> list[int]:
    """Starts of the slots whose stored readings are not those of the ledger's batch."""
    if not said:
        return stored.times_us[:1]
    slot_us = _slot_us(said)
    leaves: dict[int, list[bytes]] = {}
    for ts_us, one in zip(stored.times_us, stored.leaves, strict=True):
        leaves.setdefault(ts_us - ts_us % slot_us, []).append(one)
    return [
        start_us
        for start_us in sorted(leaves.keys() | said.keys())
        if not _agrees(leaves.get(start_us, []), said.get(start_us))
    ]


def _agrees(leaves: Sequence[bytes], said: Batch | None) -> bool:
    return said is not None and said["count"] == len(leaves) and said["root"] == batch.batch_root(leaves)


def _wrong_energies(device: str, stored: _Stored, said: Mapping[int, Batch], tick_us: int) -> Iterator[Finding]:
    """Energies that do not follow from the registers of the stored readings (all of which are in their batches)."""
    meters = {start_us: body for start_us, body in said.items() if "reg" in body}
    if not meters or not tick_us:
        return
    slot_us = _slot_us(said)
    for start_us, body in sorted(meters.items()):
        parts = energies(stored.registers, stored.bad_us, start_us, slot_us=slot_us, period_us=tick_us)
        edges = [
            edge for part in parts for edge in ((part.start_register_wh, part.end_register_wh) if part else (0, 0))
        ]
        if body["reg"] != edges:
            from twin import culprit

            what = f"registers are {edges}, the ledger settled {body['reg']} ({', '.join(COUNTERS)} at both edges)"
            yield Finding("readings", f"{device} slot {culprit.at(start_us)}", what)


def _named(
    reader: StoreReader, folder: Path, batches: Batches, disagreeing: Mapping[str, Sequence[int]]
) -> Iterator[Finding]:
    """One finding for every reading that disagrees, or for the batch where it cannot be said which."""
    from twin import culprit  # its recording and clock are needed only here

    received = culprit.received(folder, disagreeing.keys())
    for device, starts in disagreeing.items():
        said = batches.get(device)
        if not said:
            yield Finding("readings", device, "has readings, but no batch in the ledger")
            continue
        slot_us = _slot_us(said)
        for start_us in starts:
            try:
                stored = {one.reading.ts_us: one for one in reader.readings(device, start_us, start_us + slot_us)}
            except ValueError as error:
                yield Finding(
                    "readings", f"{device} slot {culprit.at(start_us)}", f"has a reading that is none: {error}"
                )
                continue
            mine = received.of(device, start_us, start_us + slot_us)
            yield from culprit.differences(device, start_us, stored, mine, said.get(start_us))
