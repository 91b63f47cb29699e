"""Write examples/cases/*.yaml: the paper's instance day-ahead and one of its windows (models/twostage.md section 1).

python examples/make_cases.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from controller.case import Asset, Case, FlexibleLoad, Pv, Storage
from controller.mechanisms.twostage import Settings, TwoStage, paper_instance
from controller.plan import Budget, Plan

FOLDER = Path(__file__).parent / "cases"
SETTINGS = {"late_per_kwh": 0.0, "terminal_spread_per_kwh": 10.0}
"""A hard end of the state of charge, as the paper has it."""
FIRST = 74
"""The window at the evening peak, which the paper looks at."""


class _Lists(yaml.SafeDumper):
    """Lists of numbers on one line."""


def _list(dumper: yaml.SafeDumper, value: list[Any]) -> yaml.Node:
    flat = all(isinstance(one, int | float) for one in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


_Lists.add_representer(list, _list)


def row(values: Any) -> Any:
    """A list of plain numbers, or one number where all are equal."""
    numbers = [round(float(value), 9) for value in np.asarray(values)]
    return numbers[0] if len(set(numbers)) == 1 else numbers


def asset(one: Asset) -> dict[str, Any]:
    """An asset without its forecast."""
    kinds = {"Storage": "storage", "Turbine": "turbine", "FlexibleLoad": "load", "Pv": "pv"}
    fields = {name: getattr(one, name) for name in one.__dataclass_fields__ if name not in ("demand_w", "available_w")}
    return {"id": fields.pop("id"), "kind": kinds[type(one).__name__], "party": fields.pop("party"), **fields}


def document(name: str, case: Case, stage: str, budget: dict[str, Any]) -> dict[str, Any]:
    """The case as the file has it."""
    found: dict[str, Any] = {
        "schema": 1,
        "case": {
            "id": name,
            "currency": "CNY",
            "stage": stage,
            "start": "2026-01-01" if not case.start_us else f"2026-01-01T{case.start_us // 3_600_000_000:02d}:30",
            "slot_s": case.slot_s,
            "slots": case.slots,
        },
        "mechanism": {"name": "twostage", "budget": budget, "settings": SETTINGS},
        "parties": [{"id": party.id, "role": party.role} for party in case.parties],
        "assets": [asset(one) for one in case.assets],
        "tariff": {
            "import_per_kwh": row(case.tariff.import_per_kwh),
            "export_per_kwh": row(case.tariff.export_per_kwh),
        },
        "grid": {"import_max_w": case.import_max_w, "export_max_w": case.export_max_w},
        "forecast": {
            "load_w": {party: row(load) for party, load in case.load_w.items()},
            "available_w": {one.id: row(one.available_w) for one in case.assets if isinstance(one, Pv)},
            "demand_w": {one.id: row(one.demand_w) for one in case.assets if isinstance(one, FlexibleLoad)},
        },
    }
    if case.day_ahead is not None:
        found["day_ahead"] = {"start": "2026-01-01", "slot_s": case.day_ahead.slot_s, "schedule": schedule(case)}
    return found


def schedule(case: Case) -> dict[str, Any]:
    """What a window reads of the day-ahead plan."""
    plan: Plan | None = case.day_ahead
    assert plan is not None
    kept = {}
    for one in case.assets:
        if isinstance(one, FlexibleLoad | Pv):
            continue
        rows = plan.schedule[one.id]
        kept[one.id] = {"p_w": list(rows.p_w)}
        if isinstance(one, Storage):
            kept[one.id] |= {"soc_pu": list(rows.soc_pu), "value_per_kwh": list(rows.value_per_kwh)}
        else:
            kept[one.id] |= {"on": list(rows.on)}
    return kept


def main() -> None:
    """Write both files."""
    day = paper_instance.day_ahead_case()
    plan = TwoStage(Settings(**SETTINGS)).plan(day, "day_ahead", Budget())
    load, renewable = (paper_instance.quarter_hours(rows) for rows in paper_instance.hourly_profiles_kw())
    states = paper_instance.planned_states(plan, FIRST)
    window = paper_instance.window_case(plan, FIRST, 16, load, renewable, states)
    FOLDER.mkdir(exist_ok=True)
    for name, case, stage, budget in (
        ("paper-day", day, "day_ahead", {"gap": 0.001, "nodes": 200}),
        ("paper-window", window, "intraday", {"gap": 0.01, "rounds": 6, "iterations": 1200}),
    ):
        text = yaml.dump(document(name, case, stage, budget), Dumper=_Lists, sort_keys=False, width=118)
        head = f"# Three prosumers of the paper's kind ({stage}); written by examples/make_cases.py.\n"
        (FOLDER / f"{name}.yaml").write_text(head + text, encoding="utf-8")


if __name__ == "__main__":
    main()
