"""What must hold between the parts of a site: ids, addresses, references, meters, steps of time, fail-safes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from controller.mechanism import names as mechanism_names
from twin.data import DataError, DataSet
from twin.document.fields import Record, near
from twin.site.device_rules import check_device, check_series
from twin.site.file_rules import check_files
from twin.site.schema import TariffBlock
from twin.site.sections import block
from twin.site.start import start_refusal
from twin.site.time_rules import check_time


def check_all(top: Record, dataset: DataSet | None, folder: Path, *, judge_start: bool, read_files: bool) -> None:
    """Every rule over what could be read; findings become problems of the report."""
    check_time(top)
    _check_mechanism(top)
    for key in ("parties", "links", "devices"):
        _check_unique_ids(top[key] or [], key)
    _check_link_addresses(top["links"] or [])
    _check_parties(top)
    for device in top["devices"] or []:
        check_device(device, top, dataset, folder)
    if read_files:
        check_files(top, folder)
    _check_units(top["devices"] or [])
    _check_meters(top)
    _check_tariff(top, dataset)
    if dataset is not None:
        spans = _check_data(top, dataset)
        if judge_start and spans:
            _check_start(top, spans)


def _check_mechanism(top: Record) -> None:
    mechanism = top["mechanism"]
    known = mechanism_names()
    if mechanism and mechanism["name"] and mechanism["name"] not in known:
        wanted = near(mechanism["name"], known) + f"installed: {', '.join(known) or 'none'}"
        mechanism.refuse("name", f"no mechanism {mechanism['name']!r}", wanted)


def _check_unique_ids(records: list[Record], what: str) -> None:
    seen: dict[str, Record] = {}
    for record in records:
        first = seen.setdefault(record["id"], record) if record["id"] else record
        if first is not record:
            record.refuse(
                "id", f"{record['id']!r} is used twice (first in line {first.item.line})", f"{what} need own ids"
            )


def _check_link_addresses(links: list[Record]) -> None:
    seen: dict[tuple[str, int], Record] = {}
    for link in links:
        serial = link["kind"] == "modbus-rtu"
        _check_link_fields(link, serial)
        address = (link["serial"] or "", 0) if serial else (link["host"] or "", link["port"] or 0)
        if address in (("", 0), (link["host"], 0)):
            continue
        first = seen.setdefault(address, link)
        if first is link:
            continue
        key, taken = ("serial", link["serial"]) if serial else ("port", f"{link['port']} on {link['host']}")
        what = f"{taken} is already used by {first['id']} (line {first.item.line})"
        link.refuse(key, what, "links need addresses of their own" + ("" if serial else "; 0 = any free port"))


def _check_link_fields(link: Record, serial: bool) -> None:
    """A serial line has a path and no address, a TCP link the other way round."""
    if link["kind"] is None:
        return
    if serial and not link["serial"]:
        link.refuse("serial", "missing", "a modbus-rtu link needs the path of its serial port, such as /dev/ttyUSB0")
    stray = ("host", "port") if serial else ("serial", "baud", "parity", "stop_bits")
    for key in stray:
        if key in link.items:
            link.refuse(key, f"a {link['kind']} link has none", f"remove `{key}` or choose another kind")


def _check_parties(top: Record) -> None:
    parties = top["parties"]
    if parties is None:
        return
    for role, wanted in (("operator", "the one who runs the site"), ("grid", "the one behind the grid meter")):
        found = [party for party in parties if party["role"] == role]
        if not found:
            top.refuse("parties", f"no party of role {role}", f"exactly one is needed: {wanted}")
        for party in found[1:]:
            what = f"{role} is already {found[0]['id']} (line {found[0].item.line})"
            party.refuse("role", what, f"exactly one party is {role}")


def _check_units(devices: list[Record]) -> None:
    seen: dict[tuple[str, int], Record] = {}
    for device in devices:
        if not device["link"] or not device["unit"]:
            continue
        first = seen.setdefault((device["link"], device["unit"]), device)
        if first is not device:
            where = f"on link {device['link']} by {first['id']} (line {first.place('unit').line})"
            device.refuse("unit", f"{device['unit']} is already used {where}", "units on one link must differ")


def _check_meters(top: Record) -> None:
    devices = top["devices"] or []
    for party in top["parties"] or []:
        meters = [d for d in devices if d["kind"] == "meter" and d["party"] == party["id"]]
        if not meters and party["id"]:
            what = "has no grid meter" if party["role"] == "grid" else "has no settlement meter"
            party.refuse("id", f"{party['id']} {what}", "add one device of kind meter with this party")
        for meter in meters[1:]:
            what = f"{party['id']} already has {meters[0]['id']} (line {meters[0].item.line})"
            meter.refuse("party", what, "a party has exactly one settlement meter")
    grids = {party["id"] for party in top["parties"] or [] if party["role"] == "grid"}
    for device in devices:
        if device["party"] in grids and device["kind"] not in (None, "meter"):
            device.refuse(
                "party", f"a {device['kind']} cannot belong to the grid", "give it to a prosumer or the operator"
            )


def _check_tariff(top: Record, dataset: DataSet | None) -> None:
    tariff = top["tariff"]
    if not tariff:
        return
    for field in ("import", "export_per_kwh"):
        value = tariff[field]
        if isinstance(value, str):
            check_series(tariff, field, value, "price", dataset)
            _check_currency(tariff, field, top, dataset)
            if dataset is None and top["data"] is None:
                tariff.refuse(field, "names a series, but the site has no data", "add `data: {path: ...}`")
        elif isinstance(value, list):
            _check_blocks(tariff, field, value)


def _check_currency(tariff: Record, field: str, top: Record, dataset: DataSet | None) -> None:
    site, id = top["site"], tariff[field]
    if dataset is None or id not in dataset.ids or not site or not site["currency"]:
        return
    unit = dataset.about(id).unit
    if dataset.about(id).kind == "price" and not unit.startswith(site["currency"]):
        what = f"{id!r} is in {unit}, the site's currency is {site['currency']}"
        tariff.refuse(field, what, "settle in the currency of the prices")


def _check_data(top: Record, dataset: DataSet) -> list[tuple[int, int]]:
    """Read every series the site uses; returns their spans."""
    used = [top["tariff"][field] for field in ("import", "export_per_kwh")] if top["tariff"] else []
    used += [device["model"]["series"] for device in top["devices"] or [] if isinstance(device["model"], Record)]
    spans = []
    for id in dict.fromkeys(id for id in used if isinstance(id, str) and id in dataset.ids):
        try:
            series = dataset.series(id)
        except DataError as error:
            note_data_error(top, error)
        else:
            spans.append((series.start_us, series.end_us))
    return spans


def _check_start(top: Record, spans: list[tuple[int, int]]) -> None:
    from twin.span import instant_us  # here, because twin.span imports twin.site.schema

    site = top["site"]
    if not site or site["start"] is None or not site["zone"]:
        return
    span = max(start for start, _ in spans), min(end for _, end in spans)
    refusal = start_refusal(span, instant_us(site["start"], site["zone"]), site["zone"])
    if refusal:
        site.refuse("start", *refusal)


def note_data_error(top: Record, error: DataError) -> None:
    """Each problem of a data file becomes one of the site's `data.path`."""
    place = top["data"].place("path") if top["data"] else top.item
    for problem in error.problems:
        top.item.report.add(place.line, "data.path", problem.text(error.file))


def _check_blocks(tariff: Record, field: str, records: list[Record]) -> None:
    if not records or any(None in record.values.values() for record in records):
        return
    gap = next(_uncovered([block(record) for record in records]), None)
    if gap:
        tariff.refuse(field, f"no price for {gap}", "blocks must cover every hour of every day")


def _uncovered(blocks: list[TariffBlock]) -> Iterator[str]:
    edges = sorted({0} | {minute % 1440 for b in blocks for minute in (b.start_min, b.end_min)})
    for month in range(1, 13):
        for weekday in (0, 5):
            for minute in edges:
                if not any(b.applies(month, weekday, minute) for b in blocks):
                    kind = "workdays" if weekday == 0 else "weekends"
                    yield f"{minute // 60:02d}:{minute % 60:02d} on {kind} of month {month}"
