"""summary.json: the figures of a run (CONTRACT, schema 1)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from twin.errors import TwinError

SCHEMA = 1
FILE = "summary.json"


class CostFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of the whole site over the run, in its currency; None where a slot could not be computed."""

    actual: float | None
    no_control: float | None
    selfuse: float | None
    tou_night: float | None
    perfect_foresight: float | None


class TelemetryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Readings decoded, committed, lost while the link was up, missing while it was down."""

    received: int
    stored: int
    lost: int
    missing: int


class SetpointFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Distinct orders that reached the wire and how each ended; `following` = share that the metered power followed."""

    sent: int
    verified: int
    rejected: int
    expired: int
    diverged: int
    superseded: int
    following: float | None


class PlanFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Plans made and kept, and how good they are known to be."""

    day_ahead: int
    intraday: int
    kept: int
    max_gap: float | None
    max_deviation_gain: float | None
    solve_s_p50: float | None
    solve_s_p99: float | None


class GapFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How the certified gaps of the windows are spread: one window's worst says little about a day."""

    median: float | None
    within_1pct: float | None
    """Share of the windows with a gap of at most 1 %."""


class LedgerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, root of the main log, and whether a full verification after the run found nothing."""

    entries: int
    root: str
    verified: bool


class LoadFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the run asked of the machine: peak memory, time of a control tick without solves."""

    service_mb: float
    worker_mb: float
    tick_s_p50: float | None
    tick_s_p99: float | None
    skipped_ticks: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One run in figures."""

    schema: int = SCHEMA
    site: str
    mechanism: str
    clock: str
    seed: int
    slots: int
    currency: str
    cost: CostFigures
    captured: float | None
    """(no_control - actual) / (no_control - perfect_foresight)."""
    telemetry: TelemetryFigures
    setpoints: SetpointFigures
    plans: PlanFigures
    ledger: LedgerFigures
    load: LoadFigures
    wall_s: float
    stopped: bool = False
    gaps: GapFigures | None = None
    onchain_rate: float | None = None
    """Requests that the ledger's rules settled by themselves / all transaction requests; None without any."""


def read(run_dir: Path) -> Summary:
    """The summary of a run folder. Raises TwinError when it is missing, damaged or newer than this version."""
    path = run_dir / FILE
    try:
        summary = msgspec.json.decode(path.read_bytes(), type=Summary)
    except OSError as error:
        raise TwinError(
            f"no summary: {error.strerror}", where=str(path), mend="name a folder made by `vpptwin run`"
        ) from error
    except msgspec.DecodeError as error:
        raise TwinError(f"damaged summary: {error}", where=str(path)) from error
    if summary.schema > SCHEMA:
        raise TwinError(
            f"summary schema {summary.schema}, this version reads {SCHEMA}", where=str(path), mend="use a newer vpptwin"
        )
    return summary
