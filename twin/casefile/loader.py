"""From a case file to a Case: read, check everything, build; all errors at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.case import Asset, Case, FlexibleLoad, FloatArray, Party, Pv, Storage, Tariff, Turbine
from controller.plan import Budget, Certificate, Plan, Schedule, Stage, sealed
from twin.casefile.schema import HEAD, KINDS, TOP
from twin.document import DocumentError
from twin.document.fields import Record, near, read
from twin.document.nodes import Item, Report, parse
from twin.site.sections import budget

Rows = Mapping[str, tuple[Item, Any]]


class CaseFileError(DocumentError):
    """All problems of one case file, one line each: `day.yaml:41 assets[7].party: what; mend`."""


@dataclass(frozen=True, slots=True)
class CaseFile:
    """A planning problem with the mechanism, stage and budget that its file asks for."""

    case: Case
    currency: str
    stage: Stage
    mechanism: str
    budget: Budget
    settings: Mapping[str, Any]
    """Settings of the mechanism, by name; checked by the mechanism itself."""


def load_case(path: Path | str) -> CaseFile:
    """Read and check a case file.

    Raises CaseFileError with every problem found, one line each: file:line field: what; mend.
    """
    path, report = Path(path), Report()
    text = _text(path, report)
    root = parse(text, report) if text is not None else None
    if root is None:
        raise CaseFileError(path.name, report.problems)
    top = read(root, TOP)
    known = not report.problems
    assets = [_read_asset(item) for item in top["assets"] or []]
    if known:
        _check_ids(top, assets)
    if report.problems:
        raise CaseFileError(path.name, report.problems)
    found = _build(top, assets)
    if report.problems:
        raise CaseFileError(path.name, report.problems)
    return found


def _text(path: Path, report: Report) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        report.add(0, "", f"no such file ({path})", "name a case file; examples/cases/paper-day.yaml is one")
    except OSError as error:
        report.add(0, "", f"cannot be read: {error.strerror} ({path})", "name a readable case file")
    return None


def _read_asset(item: Item) -> Record:
    """An asset by its kind; fields of another kind are unknown."""
    entries = item.entries()
    kind = entries["kind"].raw if entries and "kind" in entries else ""
    if kind in KINDS:
        return read(item, {**HEAD, **KINDS[kind]})
    return read(item, {**HEAD, **{name: spec for shape in KINDS.values() for name, spec in shape.items()}})


def _check_ids(top: Record, assets: list[Record]) -> None:
    """Unique ids, owners that exist, forecasts of what exists and for all that need one."""
    parties = {record["id"]: record["role"] for record in top["parties"]}
    for records in (top["parties"], assets):
        seen: dict[str, int] = {}
        for record in records:
            if record["id"] in seen:
                record.refuse("id", f"{record['id']!r} is taken (line {seen[record['id']]})", "ids are unique")
            seen.setdefault(record["id"], record.item.line)
    for record in assets:
        if parties.get(record["party"]) in (None, "grid"):
            owners = [name for name, role in parties.items() if role != "grid"]
            what = f"{record['party']!r} is no prosumer or operator"
            record.refuse(
                "party", what, f"{near(str(record['party']), owners)}one of {', '.join(owners) or 'none yet'}"
            )
    forecast = top["forecast"]
    _check_rows(forecast, "load_w", set(parties), None)
    for name, kind in (("available_w", "pv"), ("demand_w", "load")):
        wanted = {record["id"] for record in assets if record["kind"] == kind}
        _check_rows(forecast, name, wanted, kind)


def _check_rows(forecast: Record, name: str, wanted: set[str], kind: str | None) -> None:
    rows: Rows = forecast[name] or {}
    for key, (item, _) in rows.items():
        if key not in wanted:
            item.refuse(
                f"{key!r} is no {kind or 'party'} of this case", f"one of {', '.join(sorted(wanted)) or 'none'}"
            )
    for key in sorted(wanted - set(rows)) if kind is not None else ():
        forecast.refuse(name, f"no row for {key}", f"add `{key}:` with one value per slot")


def _build(top: Record, assets: list[Record]) -> CaseFile:
    head, forecast, chosen = top["case"], top["forecast"], top["mechanism"]
    slots, grid = head["slots"], top["grid"]
    loads = _table(forecast["load_w"], slots)
    rows = _table(forecast["available_w"], slots) | _table(forecast["demand_w"], slots)
    tail = top["tail"]
    more = tail["slots"] if tail else 0
    case = Case(
        site=head["id"],
        start_us=_start_us(head["start"]),
        slot_s=head["slot_s"],
        parties=tuple(Party(record["id"], record["role"]) for record in top["parties"]),
        assets=tuple(_asset(record, rows) for record in assets),
        load_w=loads,
        tariff=_tariff(top["tariff"], slots),
        import_max_w=grid["import_max_w"] if grid else float("inf"),
        export_max_w=grid["export_max_w"] if grid else float("inf"),
        day_ahead=_day_ahead(top["day_ahead"]),
        tail=_tariff(tail, more) if tail else None,
        tail_net_w=_table(tail["net_w"], more) if tail else {},
    )
    return CaseFile(
        case=case,
        currency=head["currency"],
        stage=head["stage"],
        mechanism=chosen["name"] if chosen else "twostage",
        budget=budget(chosen["budget"]) if chosen else Budget(),
        settings={key: value for key, (_, value) in (chosen["settings"] or {}).items()} if chosen else {},
    )


def _asset(record: Record, rows: Mapping[str, FloatArray]) -> Asset:
    given = {name: value for name, value in record.values.items() if name not in HEAD}
    name, party, kind = record["id"], record["party"], record["kind"]
    if kind == "storage":
        return Storage(name, party, **given)
    if kind == "turbine":
        return Turbine(name, party, **given)
    if kind == "load":
        return FlexibleLoad(name, party, rows[name], **given)
    return Pv(name, party, rows[name])


def _tariff(record: Record, slots: int) -> Tariff:
    buy, sell = (_row(record.place(name), record[name], slots) for name in ("import_per_kwh", "export_per_kwh"))
    return Tariff(buy, sell)


def _table(rows: Rows | None, slots: int) -> dict[str, FloatArray]:
    return {key: _row(item, value, slots) for key, (item, value) in (rows or {}).items()}


def _row(item: Item, value: Any, slots: int) -> FloatArray:
    """A value per slot; a problem where the list has another length."""
    if isinstance(value, list) and len(value) != slots:
        item.refuse(f"{len(value)} values for {slots} slots", "give one value per slot, or a single one for all")
        return np.zeros(slots)
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (slots,)))


def _start_us(moment: dt.date | dt.datetime) -> int:
    """A date or time without a zone counts as UTC."""
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp() * 1e6)


def _day_ahead(record: Record | None) -> Plan | None:
    """The plan that a window refines, as far as a window reads it."""
    if record is None:
        return None
    schedule = {
        name: Schedule(
            p_w=tuple(round(p) for p in row["p_w"]),
            on=tuple(row["on"]),
            soc_pu=tuple(row["soc_pu"]),
            value_per_kwh=tuple(row["value_per_kwh"]),
        )
        for name, (_, row) in record["schedule"].items()
    }
    certificate = Certificate(
        objective=0.0,
        bound=None,
        gap=None,
        residuals={},
        deviation_gain=None,
        optimal="heuristic",
        solver="given",
        version="",
        work={},
    )
    return sealed(
        Plan(
            id="",
            mechanism="given",
            stage="day_ahead",
            start_us=_start_us(record["start"]),
            slot_s=record["slot_s"],
            orders={},
            buy_per_kwh={},
            sell_per_kwh={},
            energy_wh={},
            payment_micro={},
            certificate=certificate,
            schedule=schedule,
        )
    )
