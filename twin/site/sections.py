"""The sections of a site file and their fields: names are binding, defaults stand here."""

from __future__ import annotations

import datetime as dt
from typing import Any

import yaml

from controller.forecast import METHODS
from controller.plan import Budget
from twin.document.fields import (
    Field,
    Record,
    Refusal,
    Shape,
    choice,
    flag,
    matching,
    name,
    number,
    optional,
    pair,
    rows,
    section,
    whole,
    zone,
)
from twin.document.fields import text as free_text
from twin.document.nodes import Item
from twin.site.schema import SCHEMA, Hours, LimitBlock, TariffBlock

_CLOCK_TIME = matching(r"([01]\d|2[0-3]):[0-5]\d", 'a time of day like "07:30"')
_BLOCK_TIME = matching(r"([01]\d|2[0-3]):[0-5]\d|24:00", 'a time of day like "16:00", at most "24:00",')


def moment(item: Item) -> dt.date | dt.datetime:
    """A date, or a date and time."""
    try:
        return parse_start(item.raw)
    except ValueError:
        what = f"{item.raw!r} is no date" if isinstance(item.node, yaml.ScalarNode) else item.kind()
        raise Refusal(what, "a date like 2016-09-05, or a time like 2016-09-05T06:00, is wanted") from None


def parse_start(text: str) -> dt.date | dt.datetime:
    """`2016-09-05`, `2016-09-05T06:00` (local) or `2016-09-05T13:00Z`. Raises ValueError."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return dt.datetime.fromisoformat(text)


def price(item: Item) -> Any:
    """A number, `data:<series>`, or a list of time-of-use blocks."""
    if isinstance(item.node, yaml.SequenceNode):
        return rows(section(BLOCK))(item)
    if item.raw.startswith("data:") and len(item.raw) > len("data:"):
        return item.raw.removeprefix("data:")
    try:
        return number(-100, 100)(item)
    except Refusal:
        raise Refusal(
            item.kind(), "a price per kWh, `data:<series>` or a list of time-of-use blocks is wanted"
        ) from None


BLOCK: Shape = {
    "from": Field(_BLOCK_TIME),
    "to": Field(_BLOCK_TIME),
    "days": Field(choice("all", "workdays", "weekend"), "all"),
    "months": Field(rows(whole(1, 12)), tuple(range(1, 13))),
    "per_kwh": Field(number(-100, 100)),
}
LIMITS: Shape = {
    **{key: field for key, field in BLOCK.items() if key != "per_kwh"},
    "import_max_w": Field(optional(number(0)), None),
    "export_max_w": Field(optional(number(0)), None),
}
"""Limits at the grid meter at certain hours."""
BUDGET: Shape = {
    "gap": Field(number(above=0, hi=1), 0.01),
    "rounds": Field(whole(0, 10_000), 3),
    "nodes": Field(whole(0, 10_000_000), 200),
    "iterations": Field(whole(1, 10_000_000), 400),
    "wall_s": Field(optional(number(above=0)), None),
}
CONTROL: Shape = {
    "mode": Field(choice("monitor", "shadow", "limited", "full"), None),
    "range_w": Field(pair(number(-1e9, 1e9)), None),
    "cap_w": Field(number(0, 1e9), None),
    "ramp_w_s": Field(number(1e-3, 1e9), None),
    "writes_per_day": Field(whole(1, 10**9), None),
}
"""Under what terms a device is written to (devices.description.ControlTerms)."""
TOP: Shape = {
    "schema": Field(whole(1, SCHEMA)),
    "site": Field(
        section(
            {
                "id": Field(name),
                "zone": Field(zone),
                "currency": Field(matching(r"[A-Z]{3}", "three capital letters like USD")),
                "start": Field(optional(moment), None),
            }
        )
    ),
    "time": Field(
        section(
            {
                "tick_s": Field(whole(1, 3600), 60),
                "slot_s": Field(whole(60, 3600), 900),
                "lease_s": Field(whole(60, 86_400), None),
                "gate": Field(_CLOCK_TIME, "00:00"),
                "plan_delay_s": Field(whole(0, 3600), 0),
                "physics_s": Field(whole(1, 60), None),
            }
        ),
        None,
    ),
    "mechanism": Field(section({"name": Field(name, "twostage"), "budget": Field(section(BUDGET), None)}), None),
    "forecast": Field(
        section({"method": Field(choice(*METHODS), "similar_days"), "intervals": Field(flag, True)}), None
    ),
    "control": Field(
        section(
            {
                "enabled": Field(flag, True),
                "mode": Field(choice("monitor", "shadow", "limited", "full"), "full"),
                "netting": Field(choice("party", "site"), "party"),
                "cap_w": Field(number(0, 1e9), None),
                "ramp_w_s": Field(number(1e-3, 1e9), None),
            }
        ),
        None,
    ),
    "tariff": Field(section({"import": Field(price), "export_per_kwh": Field(price)})),
    "data": Field(section({"path": Field(free_text)}), None),
    "broker": Field(
        section(
            {
                "embedded": Field(optional(flag), None),
                "host": Field(free_text, None),
                "port": Field(whole(0, 65_535), None),
                "username": Field(free_text, None),
                "tls_ca": Field(free_text, None),
                "home_assistant": Field(flag, None),
            }
        ),
        None,
    ),
    "network": Field(
        section(
            {
                "import_max_w": Field(optional(number(0)), None),
                "export_max_w": Field(optional(number(0)), None),
                "times": Field(rows(section(LIMITS)), None),
            }
        ),
        None,
    ),
    "parties": Field(
        rows(section({"id": Field(name), "role": Field(choice("prosumer", "operator", "grid"))})),
    ),
    "links": Field(
        rows(
            section(
                {
                    "id": Field(name),
                    "kind": Field(choice("modbus-tcp", "modbus-rtu", "modbus-rtu-tcp")),
                    "host": Field(free_text, "127.0.0.1"),
                    "port": Field(whole(0, 65_535), 0),
                    "timeout_s": Field(number(above=0, hi=60), 1.0),
                    "serial": Field(free_text, ""),
                    "baud": Field(whole(300, 4_000_000), 9600),
                    "parity": Field(choice("N", "E", "O"), "N"),
                    "reserve_port": Field(whole(0, 65_535), None),
                    "stop_bits": Field(whole(1, 2), 1),
                    "real": Field(flag, False),
                }
            )
        ),
        (),
    ),
    "devices": Field(
        rows(
            section(
                {
                    "id": Field(name),
                    "kind": Field(choice("meter", "pv", "storage", "turbine", "load")),
                    "party": Field(name),
                    "link": Field(name, None),
                    "unit": Field(whole(1, 247), None),
                    "map": Field(free_text, None),
                    "mqtt": Field(flag, False),
                    "adapter": Field(free_text, None),
                    "topic": Field(free_text, None),
                    "model": Field(lambda item: item, None),
                    "behaviour": Field(lambda item: item, None),
                    "cost": Field(lambda item: item, None),
                    "failsafe": Field(choice("device", "watchdog", "none"), None),
                    "accept_unsafe": Field(flag, False),
                    "control": Field(section(CONTROL), None),
                }
            )
        )
    ),
    "assumptions": Field(rows(free_text), ()),
}


def block(record: Record) -> TariffBlock:
    """A checked block as a value."""
    return TariffBlock(
        minutes(record["from"]), minutes(record["to"]), record["per_kwh"], record["days"], tuple(record["months"])
    )


def limits(record: Record) -> LimitBlock:
    """Checked limits of certain hours as a value."""
    hours = Hours(minutes(record["from"]), minutes(record["to"]), record["days"], tuple(record["months"]))
    given = {key: record[key] for key in ("import_max_w", "export_max_w") if record[key] is not None}
    return LimitBlock(hours, **given)


def minutes(clock: str) -> int:
    """Minutes since midnight of `HH:MM`."""
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


def budget(record: Record | None) -> Budget:
    """A checked budget as a value; the controller's defaults where the file says nothing."""
    return Budget(**record.values) if record else Budget()
