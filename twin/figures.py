"""summary.json of a run, from what its parts counted."""

from __future__ import annotations

import msgspec
import numpy as np

from ledger import across
from twin.conclusion import Ending
from twin.feed import Feed
from twin.options import RunOptions
from twin.planner import PlanCounts
from twin.session import Session
from twin.summary import (
    CostFigures,
    GapFigures,
    LedgerFigures,
    LoadFigures,
    PlanFigures,
    SetpointFigures,
    Summary,
    TelemetryFigures,
)


def summary(
    feed: Feed, options: RunOptions, session: Session, ending: Ending, wall_s: float, service_mb: float
) -> Summary:
    """All figures of the run; verifies the ledger as it lies on the disk."""
    service, costs = session.service, _costs(ending)
    checked = across.verify_all(session.books.main.folder)
    return Summary(
        site=feed.site.id,
        mechanism=feed.site.mechanism.name,
        clock=options.clock,
        seed=options.seed,
        slots=ending.slots,
        currency=feed.site.currency,
        cost=CostFigures(**{name: _money(value) for name, value in costs.items()}),
        captured=captured(costs["actual"], costs["no_control"], costs["perfect_foresight"]),
        telemetry=_telemetry(session),
        setpoints=_setpoints(session),
        plans=_plans(service.planner.counts),
        gaps=gaps(service.planner.counts.gaps),
        ledger=LedgerFigures(entries=checked.entries, root=checked.root, verified=checked.ok),
        load=_load(session, service_mb),
        wall_s=round(wall_s, 2),
        stopped=ending.stopped,
        onchain_rate=service.settlement.facts().onchain_rate,
    )


def captured(actual: float | None, no_control: float | None, bound: float | None) -> float | None:
    """Share of the achievable saving; None where nothing could be saved."""
    if actual is None or no_control is None or bound is None or no_control - bound < 1e-9:
        return None
    return round((no_control - actual) / (no_control - bound), 6)


def gaps(found: list[float]) -> GapFigures:
    """Median of the windows' certified gaps and the share of at most 1 %."""
    within = round(float(np.mean(np.array(found) <= 0.01)), 6) if found else None
    return GapFigures(median=_quantile(found, 0.5), within_1pct=within)


def _costs(ending: Ending) -> dict[str, float | None]:
    """What CostFigures holds, unrounded."""
    compared = ending.comparison
    totals = {} if compared is None else {name: one.cost.total for name, one in compared.references.items()}
    return {
        "actual": None if ending.actual is None else ending.actual.total,
        **{name: totals.get(name) for name in ("no_control", "selfuse", "tou_night")},
        "perfect_foresight": None if compared is None else compared.bound,
    }


def _telemetry(session: Session) -> TelemetryFigures:
    stats = session.gateway.stats
    return TelemetryFigures(
        received=session.service.counts.received,  # what came after the last tick is not of this run
        stored=session.store.counts.readings_stored,
        lost=stats.lost,
        missing=stats.missing,
    )


def _setpoints(session: Session) -> SetpointFigures:
    stats = session.gateway.stats
    return SetpointFigures(
        sent=stats.sent,
        verified=stats.verified,
        rejected=stats.rejected,
        expired=stats.expired,
        diverged=stats.diverged,
        superseded=stats.superseded,
        following=session.service.following.share,
    )


def _plans(counts: PlanCounts) -> PlanFigures:
    return PlanFigures(
        day_ahead=counts.day_ahead,
        intraday=counts.intraday,
        kept=counts.kept,
        max_gap=max(counts.gaps, default=None),
        max_deviation_gain=max(counts.deviation_gains, default=None),
        solve_s_p50=_quantile(counts.solve_s, 0.5),
        solve_s_p99=_quantile(counts.solve_s, 0.99),
    )


def _load(session: Session, service_mb: float) -> LoadFigures:
    counts = session.service.counts
    return LoadFigures(
        service_mb=round(service_mb, 1),
        worker_mb=round(session.worker.peak_mb, 1),
        tick_s_p50=_quantile(counts.tick_s, 0.5),
        tick_s_p99=_quantile(counts.tick_s, 0.99),
        skipped_ticks=counts.skipped,
    )


def _money(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 6) if values else None


def encode(value: Summary) -> bytes:
    """Indented JSON; msgspec writes no NaN."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
