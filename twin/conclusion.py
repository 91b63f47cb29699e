"""The end of a run: what it cost, what others would have made of the day, and the files that say so."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from controller import foresight
from controller.case import FloatArray, Tariff
from controller.costs import CostBreakdown, TurbineUse
from ledger import verify
from twin import assets, outcome
from twin.assets import RUNNING_W
from twin.feed import Feed
from twin.options import RunOptions
from twin.outcome import Realised, Reference
from twin.report import data as report
from twin.session import Session
from twin.span import DAY_US
from twin.store import StoreReader
from twin.summary import (
    CostFigures,
    LedgerFigures,
    LoadFigures,
    PlanFigures,
    SetpointFigures,
    Summary,
    TelemetryFigures,
)
from twin.worker import SolveFailed

SHAPE_NOTE = (
    "Inside each hour of the recording, power follows a seeded model that keeps the hour's energy (twin/shape.py): "
    "the minute curves are modelled, the hourly energies are the published ones."
)
KEYS_NOTE = "Test keys: derived from the seed; the ledger proves integrity, not identity."


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known once the last slot is settled."""

    slots: int
    tariff: Tariff
    actual: CostBreakdown | None
    references: dict[str, Reference]
    bound: float | None
    bound_grid_wh: FloatArray | None
    stopped: bool


def period(start_us: int, hours: float, zone: str) -> str:
    """`2016-09-05 00:00 to 2016-09-06 00:00`, local time."""
    first, last = (dt.datetime.fromtimestamp(t / 1e6, ZoneInfo(zone)) for t in (start_us, start_us + hours * 3.6e9))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M}"


async def conclude(feed: Feed, session: Session, start_us: int, *, stopped: bool) -> Ending:
    """Cost of the settled slots, of the rules and of perfect foresight over the same slots."""
    site, slots = feed.site, len(session.service.settlement.book)
    tariff = feed.tariff(start_us, slots) if slots else Tariff(np.zeros(0), np.zeros(0))
    if not slots:
        return Ending(0, tariff, None, {}, None, None, stopped)
    session.store.flush()
    with StoreReader(session.store.path) as reader:
        end_us = start_us + slots * site.time.slot_s * 1_000_000
        soc = _states_of_charge(feed, reader, start_us, end_us)
        turbines = {
            spec.id: _turbine_use(feed, session, reader, spec.id, start_us, slots)
            for spec in site.devices
            if spec.kind == "turbine"
        }
    flexible = outcome.realised_demand(site, feed.power_w, start_us, slots)
    actual = outcome.actual_cost(site, session.service.settlement.book, tariff, flexible, soc, turbines)
    day = Realised(
        series=outcome.realised_series(site, feed.power_w, start_us, slots),
        tariff=tariff,
        flexible=flexible,
        storages=tuple(assets.storage(site, spec, soc[spec.id][0]) for spec in site.devices if spec.id in soc),
        turbines=tuple(use.turbine for use in turbines.values()),
        prices_around=_prices_around(feed, start_us, slots),
        first_slot=DAY_US // (site.time.slot_s * 1_000_000),
    )
    try:
        references = await session.worker.run(outcome.references, day)
        best = await session.worker.run(foresight.perfect_foresight, outcome.foresight_site(site, day))
    except SolveFailed as error:
        session.service.report(f"no comparison: {error}", "conclusion", "error")
        return Ending(slots, tariff, actual, {}, None, None, stopped)
    return Ending(slots, tariff, actual, references, best.bound, best.grid_wh, stopped)


def _prices_around(feed: Feed, start_us: int, slots: int) -> FloatArray:
    """Import prices from a day before the run to a day after it; beyond the data the nearest known day stands in."""
    per_day = int(DAY_US // (feed.site.time.slot_s * 1_000_000))
    return feed.tariff(start_us - DAY_US, slots + 2 * per_day).import_per_kwh


def _states_of_charge(feed: Feed, reader: StoreReader, start_us: int, end_us: int) -> dict[str, tuple[float, float]]:
    """device -> (first, final) measured state of charge; absent if it never answered."""
    found = {}
    for spec in feed.site.devices:
        if spec.kind == "storage":
            _, values = reader.series(spec.id, "soc_pu", start_us, end_us + 1)
            known = values[~np.isnan(values)]
            if known.size:
                found[spec.id] = (float(known[0]), float(known[-1]))
    return found


def _turbine_use(
    feed: Feed, session: Session, reader: StoreReader, device: str, start_us: int, slots: int
) -> TurbineUse:
    """Energy, share of time on, starts and stops of a turbine."""
    site = feed.site
    slot_us = site.time.slot_s * 1_000_000
    ts_us, power = reader.series(device, "p_w", start_us, start_us + slots * slot_us + 1)
    on = np.nan_to_num(power) >= RUNNING_W
    book = session.service.settlement.book
    energy = np.array([float(slot[device].given.wh) if slot[device].given else 0.0 for slot in book])  # type: ignore[union-attr]
    share = np.zeros(slots)
    index = np.clip((ts_us - start_us - 1) // slot_us, 0, slots - 1)
    np.add.at(share, index, on * site.time.tick_s / site.time.slot_s)
    share = np.where(energy > 0, np.maximum(share, site.time.tick_s / site.time.slot_s), np.minimum(share, 1.0))
    changes = np.diff(np.concatenate(([False], on)).astype(int))
    turbine = assets.turbine(site, site.device(device))
    return TurbineUse(turbine, energy, np.minimum(share, 1.0), int((changes > 0).sum()), int((changes < 0).sum()))


def summary(
    feed: Feed, options: RunOptions, session: Session, ending: Ending, wall_s: float, service_mb: float
) -> Summary:
    """All figures of the run; verifies the ledger as it lies on the disk."""
    stats, service = session.gateway.stats, session.service
    counts, checked = service.planner.counts, verify.verify(session.ledger.folder)
    costs = {name: one.cost.total for name, one in ending.references.items()}
    actual = None if ending.actual is None else ending.actual.total
    return Summary(
        site=feed.site.id,
        mechanism=feed.site.mechanism.name,
        clock=options.clock,
        seed=options.seed,
        slots=ending.slots,
        currency=feed.site.currency,
        cost=CostFigures(
            actual=_money(actual),
            no_control=_money(costs.get("no_control")),
            selfuse=_money(costs.get("selfuse")),
            tou_night=_money(costs.get("tou_night")),
            perfect_foresight=_money(ending.bound),
        ),
        captured=captured(actual, costs.get("no_control"), ending.bound),
        telemetry=TelemetryFigures(
            received=stats.received, stored=session.store.counts.readings_stored, lost=stats.lost, missing=stats.missing
        ),
        setpoints=SetpointFigures(
            sent=stats.sent,
            verified=stats.verified,
            rejected=stats.rejected,
            expired=stats.expired,
            diverged=stats.diverged,
            superseded=stats.superseded,
            following=service.following.share,
        ),
        plans=PlanFigures(
            day_ahead=counts.day_ahead,
            intraday=counts.intraday,
            kept=counts.kept,
            max_gap=max(counts.gaps, default=None),
            max_deviation_gain=max(counts.deviation_gains, default=None),
            solve_s_p50=_quantile(counts.solve_s, 0.5),
            solve_s_p99=_quantile(counts.solve_s, 0.99),
        ),
        ledger=LedgerFigures(entries=checked.entries, root=checked.root, verified=checked.ok),
        load=LoadFigures(
            service_mb=round(service_mb, 1),
            worker_mb=round(session.worker.peak_mb, 1),
            tick_s_p50=_quantile(service.counts.tick_s, 0.5),
            tick_s_p99=_quantile(service.counts.tick_s, 0.99),
            skipped_ticks=service.counts.skipped,
        ),
        wall_s=round(wall_s, 2),
        stopped=ending.stopped,
    )


def captured(actual: float | None, no_control: float | None, bound: float | None) -> float | None:
    """Share of the achievable saving; None where nothing could be saved."""
    if actual is None or no_control is None or bound is None or no_control - bound < 1e-9:
        return None
    return round((no_control - actual) / (no_control - bound), 6)


def _money(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _quantile(values: list[float], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 6) if values else None


def write_report_data(feed: Feed, session: Session, ending: Ending, start_us: int, out: Path) -> None:
    """Put what only the run knows beside telemetry.db, for the report."""
    site, settlement = feed.site, session.service.settlement
    slot_us = site.time.slot_s * 1_000_000
    metered = settlement.book
    parties = []
    for party in site.parties:
        meter = site.meter_of(party.id).id
        parties.append(
            report.PartyRow(
                id=party.id,
                role=party.role,
                energy_wh=[float(slot[meter].net_wh) for slot in metered],
                payment_micro=[payments.get(party.id, 0) for payments in settlement.payments],
                alone_micro=_alone(ending.tariff, [slot[meter].net_wh for slot in metered])
                if party.role == "prosumer"
                else None,
            )
        )
    costs = []
    if ending.actual is not None:
        grid = site.meter_of(site.grid.id).id
        row: report.Row = [slot[grid].net_wh * 3600 / site.time.slot_s for slot in metered]
        costs.append(report.CaseCost(name="actual", total=ending.actual.total, parts=_parts(ending.actual), grid_w=row))
    for name, one in ending.references.items():
        costs.append(
            report.CaseCost(
                name=name, total=one.cost.total, parts=_parts(one.cost), grid_w=_watts(one.grid_wh, site.time.slot_s)
            )
        )
    if ending.bound is not None and ending.bound_grid_wh is not None:
        costs.append(
            report.CaseCost(
                name="perfect_foresight", total=ending.bound, grid_w=_watts(ending.bound_grid_wh, site.time.slot_s)
            )
        )
    report.write(
        report.ReportData(
            site=site.id,
            zone=site.zone,
            currency=site.currency,
            slot_s=site.time.slot_s,
            start_us=[start_us + k * slot_us for k in range(ending.slots)],
            import_per_kwh=list(ending.tariff.import_per_kwh.tolist()),
            export_per_kwh=list(ending.tariff.export_per_kwh.tolist()),
            devices=[
                report.DeviceRow(id=spec.id, kind=spec.kind, party=spec.party, is_grid=spec.is_grid)
                for spec in site.devices
            ],
            parties=parties,
            costs=costs,
            assumptions=list(site.assumptions),
            notes=_notes(feed),
        ),
        out,
    )


def _alone(tariff: Tariff, net_wh: list[int]) -> list[int | None]:
    """What each slot's net energy would have brought (+) or cost (-) at the site's tariff, micro-currency."""
    rows = zip(net_wh, tariff.import_per_kwh, tariff.export_per_kwh, strict=True)
    return [round(wh * (export if wh > 0 else import_) * 1000) for wh, import_, export in rows]


def _parts(cost: CostBreakdown) -> dict[str, float]:
    return {
        name.rstrip("_"): value
        for name in ("import_", "export", "fuel", "wear", "comfort", "end_soc")
        if (value := getattr(cost, name))
    }


def _watts(energy_wh: FloatArray, slot_s: int) -> report.Row:
    return list((energy_wh * 3600 / slot_s).tolist())


def _notes(feed: Feed) -> list[str]:
    found = [KEYS_NOTE]
    if feed.dataset is not None:
        about = feed.dataset.description
        found += [SHAPE_NOTE, f"Data: {about.name}. Source: {about.source}. Licence: {about.licence}.", *about.notes]
    return found


def encode(value: Summary) -> bytes:
    """Indented JSON; msgspec writes no NaN."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
