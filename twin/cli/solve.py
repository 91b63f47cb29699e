"""`vpptwin solve`: one planning problem from a case file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from controller.mechanism import Mechanism, load
from controller.plan import Plan
from twin.casefile import CaseFile, load_case
from twin.cli.budget import changed
from twin.cli.output import console, emit_json
from twin.document.fields import near
from twin.exits import UsageError


def solve(
    case: Annotated[Path, typer.Argument(help="Case file (YAML): slots, parties, assets, tariff, forecast.")],
    mechanism: Annotated[str | None, typer.Option(help="Market mechanism, instead of the file's own.")] = None,
    method: Annotated[
        str | None, typer.Option(help="How twostage searches prices: exact, paper, paper-preset, pso, ga.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Work to spend, e.g. gap=0.01,rounds=6,nodes=5000,iterations=2000.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
) -> None:
    """Solve one case and print its prices, its certificate and what limits it."""
    found = load_case(case)
    name = mechanism or found.mechanism
    settings = dict(found.settings) if name == found.mechanism else {}
    if method is not None:
        settings["method"] = method
    plan = configured(name, settings).plan(found.case, found.stage, changed(found.budget, budget))
    if as_json:
        emit_json(msgspec.to_builtins(plan))
        return
    console.print(_prices(found, plan))
    console.print(_certificate(found, plan))
    for reason in plan.reasons:
        console.print(
            f"limit: {reason.who}, slot {reason.slot}: {reason.limit} ({reason.shadow_price:.4f} per unit)",
            soft_wrap=True,
        )


def configured(name: str, settings: dict[str, Any]) -> Mechanism:
    """The installed mechanism with these of its settings changed.

    Raises UsageError where it has no such setting or refuses the value.
    """
    made = load(name)
    if not settings:
        return made
    defaults = getattr(made, "settings", None)
    fields = {field.name for field in dataclasses.fields(defaults)} if dataclasses.is_dataclass(defaults) else set()
    for key, value in settings.items():
        where = f"mechanism {name}, settings.{key}"
        if key not in fields:
            known = ", ".join(sorted(fields)) or "none"
            raise UsageError("unknown setting", where=where, mend=f"{near(key, sorted(fields))}it has: {known}")
        wanted = type(getattr(defaults, key))
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            settings[key] = float(value)
        elif type(value) is not wanted:
            raise UsageError(f"{value!r} does not fit", where=where, mend=f"a value like {getattr(defaults, key)!r}")
    assert defaults is not None
    changed: Mechanism = type(made)(dataclasses.replace(defaults, **settings))  # type: ignore[call-arg]
    return changed


def _prices(found: CaseFile, plan: Plan) -> Table:
    """Prices and expected energy of the first prosumer, per slot."""
    table = Table(title=f"{found.case.site}: {plan.mechanism}, {plan.stage}", title_justify="left")
    prosumers = [party.id for party in found.case.parties if party.role == "prosumer"]
    for name in ("slot", "import", "buy", "sell", "export", *(f"{party} Wh" for party in prosumers)):
        table.add_column(name, justify="right")
    tariff = found.case.tariff
    buy, sell = (rows[prosumers[0]] if prosumers else () for rows in (plan.buy_per_kwh, plan.sell_per_kwh))
    for k, (to, back) in enumerate(zip(buy, sell, strict=True)):
        prices = (tariff.import_per_kwh[k], to, back, tariff.export_per_kwh[k])
        energy = (str(plan.energy_wh[party][k]) for party in prosumers)
        table.add_row(str(k), *(f"{price:.4f}" for price in prices), *energy)
    return table


def _certificate(found: CaseFile, plan: Plan) -> Table:
    sure = plan.certificate
    table = Table(show_header=False)
    gain = "-" if sure.deviation_gain is None else f"{sure.deviation_gain:.2e} {found.currency}"
    gains = ", ".join(f"{party} {one:.6f}" for party, one in sure.deviation_gains.items())
    rows = (
        ("objective", f"{sure.objective:.4f} {found.currency}"),
        ("bound", "-" if sure.bound is None else f"{sure.bound:.4f} {found.currency}"),
        ("gap", "-" if sure.gap is None else f"{sure.gap:.2%}"),
        ("deviation gain, largest", gain),
        ("of each", gains or "-"),
        ("optimal", sure.optimal),
        ("solver", f"{sure.solver} ({sure.version})"),
        ("work", ", ".join(f"{count} {what}" for what, count in sure.work.items())),
    )
    for row in rows:
        table.add_row(*row)
    return table
