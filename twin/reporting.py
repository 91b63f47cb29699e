"""report_data.json of a run: what the report shows beside telemetry.db."""

from __future__ import annotations

from pathlib import Path

from controller.case import FloatArray, Tariff
from controller.costs import CostBreakdown
from twin.conclusion import Ending
from twin.feed import Feed
from twin.report import data as report
from twin.session import Session
from twin.site.schema import Site

SHAPE_NOTE = (
    "Inside each hour of the recording, power follows a seeded model that keeps the hour's energy (twin/shape.py): "
    "the minute curves are modelled, the hourly energies are the published ones."
)
KEYS_NOTE = "Test keys: derived from the seed; the ledger proves integrity, not identity."


def write_report_data(feed: Feed, session: Session, ending: Ending, out: Path) -> None:
    """Put what only the run knows beside telemetry.db, for the report."""
    site, slot_us = feed.site, feed.site.time.slot_s * 1_000_000
    report.write(
        report.ReportData(
            site=site.id,
            zone=site.zone,
            currency=site.currency,
            slot_s=site.time.slot_s,
            start_us=[ending.start_us + k * slot_us for k in range(ending.slots)],
            import_per_kwh=list(ending.tariff.import_per_kwh.tolist()),
            export_per_kwh=list(ending.tariff.export_per_kwh.tolist()),
            devices=[
                report.DeviceRow(id=spec.id, kind=spec.kind, party=spec.party, is_grid=spec.is_grid)
                for spec in site.devices
            ],
            parties=_parties(site, session, ending),
            costs=_costs(site, session, ending),
            assumptions=list(site.assumptions),
            notes=[*_notes(feed, session.keys.kind), *session.forecasts.notes],
        ),
        out,
    )


def _parties(site: Site, session: Session, ending: Ending) -> list[report.PartyRow]:
    settlement, found = session.service.settlement, []
    for party in site.parties:
        meter = site.meter_of(party.id).id
        net_wh = [slot[meter].net_wh for slot in settlement.book]
        row = report.PartyRow(
            id=party.id,
            role=party.role,
            energy_wh=[float(wh) for wh in net_wh],
            payment_micro=[payments.get(party.id, 0) for payments in settlement.payments],
            alone_micro=_alone(ending.tariff, net_wh) if party.role == "prosumer" else None,
        )
        found.append(row)
    return found


def _costs(site: Site, session: Session, ending: Ending) -> list[report.CaseCost]:
    slot_s, found = site.time.slot_s, []
    if ending.actual is not None:
        grid = site.meter_of(site.grid.id).id
        row: report.Row = [slot[grid].net_wh * 3600 / slot_s for slot in session.service.settlement.book]
        found.append(_case("actual", ending.actual, row))
    if ending.comparison is not None:
        for name, one in ending.comparison.references.items():
            found.append(_case(name, one.cost, _watts(one.grid_wh, slot_s)))
        grid_w = _watts(ending.comparison.bound_grid_wh, slot_s)
        found.append(report.CaseCost(name="perfect_foresight", total=ending.comparison.bound, grid_w=grid_w))
    return found


def _case(name: str, cost: CostBreakdown, grid_w: report.Row) -> report.CaseCost:
    parts = {
        part.rstrip("_"): getattr(cost, part) for part in ("import_", "export", "fuel", "wear", "comfort", "end_soc")
    }
    return report.CaseCost(name=name, total=cost.total, parts={k: v for k, v in parts.items() if v}, grid_w=grid_w)


def _alone(tariff: Tariff, net_wh: list[int]) -> list[int | None]:
    """What each slot's net energy would have brought (+) or cost (-) at the site's tariff, micro-currency."""
    rows = zip(net_wh, tariff.import_per_kwh, tariff.export_per_kwh, strict=True)
    return [round(wh * (export if wh > 0 else import_) * 1000) for wh, import_, export in rows]


def _watts(energy_wh: FloatArray, slot_s: int) -> report.Row:
    return list((energy_wh * 3600 / slot_s).tolist())


def _notes(feed: Feed, keys: str) -> list[str]:
    found = [KEYS_NOTE] if keys == "derived" else []
    if feed.dataset is not None:
        about = feed.dataset.description
        found += [SHAPE_NOTE, f"Data: {about.name}. Source: {about.source}. Licence: {about.licence}.", *about.notes]
    return found
