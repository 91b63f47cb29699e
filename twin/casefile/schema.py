"""The sections of a case file and their fields: names are binding, defaults are those of controller/case.py."""

from __future__ import annotations

from typing import Any

import yaml

from twin.document.fields import (
    Check,
    Field,
    Refusal,
    Shape,
    choice,
    flag,
    matching,
    name,
    number,
    optional,
    rows,
    section,
    whole,
)
from twin.document.nodes import Item
from twin.site.sections import BUDGET, moment

SCHEMA = 1
"""Newest version of a case file that this program reads."""

POSITIVE, AT_LEAST_0, SHARE = number(above=0), number(0), number(0, 1)
PRICE = number(-100, 100)


def row(check: Check) -> Check:
    """One value for all slots, or a list with one per slot."""

    def check_row(item: Item) -> Any:
        return rows(check)(item) if isinstance(item.node, yaml.SequenceNode) else check(item)

    return check_row


def table(check: Check) -> Check:
    """A mapping from ids to values, as Items by id where refused ones are None."""

    def check_table(item: Item) -> dict[str, tuple[Item, Any]]:
        entries = item.entries()
        if entries is None:
            return {}
        found = {}
        for key, child in entries.items():
            try:
                found[key] = (child, check(child))
            except Refusal as refusal:
                child.refuse(refusal.what, refusal.mend)
        return found

    return check_table


STORAGE: Shape = {
    "e_wh": Field(POSITIVE),
    "p_charge_w": Field(AT_LEAST_0),
    "p_discharge_w": Field(AT_LEAST_0),
    "eta_charge": Field(number(above=0, hi=1)),
    "eta_discharge": Field(number(above=0, hi=1)),
    "soc_pu": Field(SHARE),
    "soc_min_pu": Field(SHARE, 0.0),
    "soc_max_pu": Field(SHARE, 1.0),
    "wear_charge_per_kwh": Field(AT_LEAST_0, 0.0),
    "wear_discharge_per_kwh": Field(AT_LEAST_0, 0.0),
}
TURBINE: Shape = {
    "p_min_w": Field(AT_LEAST_0),
    "p_max_w": Field(POSITIVE),
    "ramp_w_per_h": Field(POSITIVE),
    "cost_a_per_kw2h": Field(AT_LEAST_0),
    "cost_b_per_kwh": Field(AT_LEAST_0),
    "cost_c_per_h": Field(AT_LEAST_0),
    "start_cost": Field(AT_LEAST_0, 0.0),
    "stop_cost": Field(AT_LEAST_0, 0.0),
    "min_up_s": Field(AT_LEAST_0, 0.0),
    "min_down_s": Field(AT_LEAST_0, 0.0),
    "on": Field(flag, False),
    "p_w": Field(AT_LEAST_0, 0.0),
    "held_s": Field(AT_LEAST_0, 1e9),
}
LOAD: Shape = {
    "curtail_max_pu": Field(SHARE),
    "beta_per_kwh": Field(AT_LEAST_0),
    "beta2_per_kw2h": Field(AT_LEAST_0, 4e-4),
}
PV: Shape = {}
KINDS: dict[str, Shape] = {"storage": STORAGE, "turbine": TURBINE, "load": LOAD, "pv": PV}
HEAD: Shape = {"id": Field(name), "kind": Field(choice(*KINDS)), "party": Field(name)}

TARIFF: Shape = {"import_per_kwh": Field(row(PRICE)), "export_per_kwh": Field(row(PRICE))}
SCHEDULE: Shape = {
    "p_w": Field(rows(number())),
    "on": Field(rows(flag), ()),
    "soc_pu": Field(rows(SHARE), ()),
    "value_per_kwh": Field(rows(PRICE), ()),
}
TOP: Shape = {
    "schema": Field(whole(1, SCHEMA)),
    "case": Field(
        section(
            {
                "id": Field(name),
                "currency": Field(matching(r"[A-Z]{3}", "three capital letters like USD")),
                "stage": Field(choice("day_ahead", "intraday")),
                "start": Field(moment),
                "slot_s": Field(whole(60, 3600)),
                "slots": Field(whole(1, 400)),
            }
        )
    ),
    "mechanism": Field(
        section(
            {
                "name": Field(name, "twostage"),
                "budget": Field(section(BUDGET), None),
                "settings": Field(table(lambda item: item.value()), None),
            }
        ),
        None,
    ),
    "parties": Field(rows(section({"id": Field(name), "role": Field(choice("prosumer", "operator", "grid"))}))),
    "assets": Field(lambda item: list(item.elements()), ()),
    "tariff": Field(section(TARIFF)),
    "grid": Field(
        section({"import_max_w": Field(AT_LEAST_0, float("inf")), "export_max_w": Field(AT_LEAST_0, float("inf"))}),
        None,
    ),
    "forecast": Field(
        section(
            {
                "load_w": Field(table(row(number()))),
                "available_w": Field(table(row(AT_LEAST_0)), None),
                "demand_w": Field(table(row(AT_LEAST_0)), None),
            }
        )
    ),
    "tail": Field(
        optional(section({**TARIFF, "slots": Field(whole(1, 400)), "net_w": Field(table(row(number())), None)})), None
    ),
    "day_ahead": Field(
        optional(
            section(
                {"start": Field(moment), "slot_s": Field(whole(60, 3600)), "schedule": Field(table(section(SCHEDULE)))}
            )
        ),
        None,
    ),
}
