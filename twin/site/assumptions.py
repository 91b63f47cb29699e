"""Sentences for the report: what the site file assumes because no measurement says it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from twin.site.schema import LoadCost, Price, Site, StorageCost, TurbineCost


def sentences(site: Site, own: tuple[str, ...]) -> Site:
    """The site with its assumptions: those made from its numbers, then the author's own words."""
    return replace(site, assumptions=(*_tariff(site), *_costs(site), *_limits(site), *own))


def _tariff(site: Site) -> Iterator[str]:
    for name, price in (("Import", site.tariff.import_), ("Export", site.tariff.export_per_kwh)):
        if not isinstance(price, str):
            yield f"{name} price: {_words(price, site.currency)}, set in the site file, not measured."


def _words(price: Price, currency: str) -> str:
    if isinstance(price, tuple):
        levels = sorted({block.per_kwh for block in price})
        return f"time of use, {levels[0]:g} to {levels[-1]:g} {currency}/kWh"
    return f"constant {price} {currency}/kWh"


def _costs(site: Site) -> Iterator[str]:
    wear: Counter[tuple[float, float]] = Counter()
    for id, cost in site.costs.items():
        if isinstance(cost, StorageCost):
            wear[cost.wear_charge_per_kwh, cost.wear_discharge_per_kwh] += 1
        elif isinstance(cost, TurbineCost):
            yield (
                f"Turbine {id}: {cost.a_per_kw2h:g}*P^2 + {cost.b_per_kwh:g}*P + {cost.c_per_h:g} {site.currency}/h"
                f" with P in kW, {cost.start:g} per start, {cost.stop:g} per stop."
            )
        elif isinstance(cost, LoadCost):
            yield (
                f"Flexible load {id}: curtailing is paid {cost.beta_per_kwh:g} {site.currency}/kWh as comfort,"
                f" at most {100 * cost.curtail_max_pu:g} % of its demand."
            )
    for (charge, discharge), count in wear.items():
        yield (
            f"Storage wear ({count} devices): {charge:g} {site.currency}/kWh charged,"
            f" {discharge:g} {site.currency}/kWh discharged."
        )


def _limits(site: Site) -> Iterator[str]:
    shares = [(d.id, d.model["share"], d.model.get("series")) for d in site.devices if d.model.get("share", 1.0) != 1.0]
    for id, share, series in shares:
        yield f"{id} is assumed to be {100 * share:g} % of the measured series {series}."
