"""From a site file to a Site: read, check everything, build; all errors at once."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import yaml

from controller.case import Party
from devices.description import ControlTerms, DeviceSpec, LinkSpec
from twin.data import DataError, DataSet
from twin.document.fields import Record, read
from twin.document.nodes import Item, Report, parse
from twin.site.assumptions import sentences
from twin.site.errors import SiteError
from twin.site.models import BEHAVIOUR, COSTS, MODELS
from twin.site.rules import check_all, note_data_error
from twin.site.schema import (
    SCHEMA,
    BrokerChoice,
    ControlSpec,
    Cost,
    ForecastSpec,
    LoadCost,
    MechanismSpec,
    NetworkSpec,
    Price,
    Site,
    StorageCost,
    TariffSpec,
    TimeSpec,
    TurbineCost,
)
from twin.site.sections import TOP, block, budget, limits

_COST_TYPES: dict[str, type[TurbineCost] | type[StorageCost] | type[LoadCost]] = {
    "turbine": TurbineCost,
    "storage": StorageCost,
    "load": LoadCost,
}


def load_site(path: Path | str, *, data: Path | None = None, check_data: bool = True, check_files: bool = True) -> Site:
    """Read and check a site file; `data` replaces its data folder, and `start` is then not judged (see start.py).

    check_data : False for what needs only links and devices: it must work with the data gone.
    check_files : False also leaves register maps and the like unopened: one bad map must not keep others from release.

    Raises SiteError with every problem found, one line each: file:line field: what; mend.
    """
    path = Path(path)
    report = Report()
    raw = _bytes(path, report)
    root = parse(raw.decode("utf-8", errors="replace"), report) if raw is not None else None
    if root is None or _too_new(root):
        raise SiteError(path.name, report.problems)
    top = read(root, TOP)
    for device in top["devices"] or []:
        _read_details(device)
    folder = data or _data_folder(top, path.parent)
    dataset = _open_data(top, folder) if check_data else None
    check_all(top, dataset, path.parent, judge_start=data is None and check_data, read_files=check_files)
    if report.problems:
        raise SiteError(path.name, report.problems)
    return _build(top, path, folder, hashlib.sha256(raw or b"").hexdigest())


def _bytes(path: Path, report: Report) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        report.add(0, "", f"no such file ({path})", "name a site file; examples/sites/homes.yaml is one")
    except OSError as error:
        report.add(0, "", f"cannot be read: {error.strerror} ({path})", "name a readable site file")
    return None


def _too_new(root: Item) -> bool:
    """True with that one problem noted when the file is of a newer schema: its other fields cannot be judged."""
    if not isinstance(root.node, yaml.MappingNode):
        return False
    for key, node in root.node.value:
        item = Item(node, "schema", root.report, root.loader)
        value = item.value()
        if key.value == "schema" and isinstance(value, int) and value > SCHEMA:
            item.refuse(
                f"{value} is newer than this vpptwin reads ({SCHEMA})", f"install one that reads schema {value}"
            )
            return True
    return False


def _read_details(device: Record) -> None:
    """Read model, behaviour and cost by the device's kind, in place."""
    kind = device["kind"]
    shapes = {"model": MODELS, "behaviour": dict.fromkeys(MODELS, BEHAVIOUR), "cost": COSTS}
    for key, by_kind in shapes.items():
        item, device.values[key] = device[key], None
        if item is None or kind is None:
            if key == "model" and kind not in (None, "meter"):
                device.refuse("model", "missing", f"a {kind} needs a model: {', '.join(MODELS[kind])}")
        elif kind in by_kind:
            device.values[key] = read(item, by_kind[kind])
        else:
            item.refuse(f"a {kind} has no {key}", f"remove `{key}`; it belongs to {', '.join(by_kind)}")


def _data_folder(top: Record, folder: Path) -> Path | None:
    data = top["data"]
    return folder / data["path"] if data and data["path"] else None


def _open_data(top: Record, folder: Path | None) -> DataSet | None:
    if folder is None:
        return None
    try:
        return DataSet.open(folder)
    except DataError as error:
        note_data_error(top, error)
        return None


def _build(top: Record, path: Path, data: Path | None, sha256: str) -> Site:
    site = top["site"]
    grids = {party["id"] for party in top["parties"] if party["role"] == "grid"}
    devices = tuple(_device(record, grids, path.parent) for record in top["devices"])
    costs = {record["id"]: _cost(record) for record in top["devices"] if record["kind"] in _COST_TYPES}
    bare = Site(
        id=site["id"],
        zone=site["zone"],
        currency=site["currency"],
        start=site["start"],
        time=_time(top["time"]),
        mechanism=_mechanism(top["mechanism"]),
        control=ControlSpec(**_given(top["control"])),
        tariff=TariffSpec(_price(top["tariff"]["import"]), _price(top["tariff"]["export_per_kwh"])),
        data=data,
        broker=_broker(top["broker"], path.parent),
        network=_network(top["network"]),
        parties=tuple(Party(record["id"], record["role"]) for record in top["parties"]),
        links=tuple(LinkSpec(**record.values) for record in top["links"]),
        devices=devices,
        costs=costs,
        assumptions=(),
        path=path,
        sha256=sha256,
        forecast=ForecastSpec(**_given(top["forecast"])),
    )
    return sentences(bare, tuple(top["assumptions"]))


def _device(record: Record, grids: set[str], folder: Path) -> DeviceSpec:
    return DeviceSpec(
        id=record["id"],
        kind=record["kind"],
        party=record["party"],
        link=record["link"],
        unit=record["unit"],
        map=_own(record["map"], folder),
        mqtt=record["mqtt"],
        adapter=_own(record["adapter"], folder),
        topic=record["topic"],
        is_grid=record["party"] in grids,
        model=_given(record["model"]),
        behaviour=_behaviour(record["behaviour"], folder),
        failsafe=record["failsafe"],
        control=ControlTerms(**_given(record["control"])),
    )


def _own(name: str | None, folder: Path) -> str | None:
    """A file of the user's, not a shipped one, counts from the site file."""
    return str(folder / name) if name is not None and name.endswith((".yaml", ".yml")) else name


def _broker(record: Record | None, folder: Path) -> BrokerChoice:
    given = _given(record)
    return BrokerChoice(**given | ({"tls_ca": str(folder / given["tls_ca"])} if "tls_ca" in given else {}))


def _behaviour(record: Record | None, folder: Path) -> dict[str, Any]:
    """A profile's path counts from the site file."""
    given = _given(record)
    return given | ({"profile": str(folder / given["profile"])} if "profile" in given else {})


def _cost(record: Record) -> Cost:
    given = _given(record["cost"])
    if record["kind"] == "load":  # how much may be curtailed is what the device can do, so its model says it
        given["curtail_max_pu"] = _given(record["model"]).get("curtail_max_pu", LoadCost().curtail_max_pu)
    return _COST_TYPES[record["kind"]](**given)


def _time(record: Record | None) -> TimeSpec:
    given = _given(record)
    tick = given.get("tick_s", TimeSpec().tick_s)
    defaults = {"lease_s": max(60, 3 * tick), "physics_s": min(60, tick)}
    return TimeSpec(**{**defaults, **given})


def _mechanism(record: Record | None) -> MechanismSpec:
    if record is None:
        return MechanismSpec()
    return MechanismSpec(record["name"], budget(record["budget"]))


def _network(record: Record | None) -> NetworkSpec:
    given = _given(record)
    return NetworkSpec(**given | {"times": tuple(limits(row) for row in given.get("times", ()))})


def _price(value: Any) -> Price:
    return tuple(block(record) for record in value) if isinstance(value, list) else value


def _given(record: Record | None) -> dict[str, Any]:
    """The fields that the file itself gives; defaults stay where the value is made."""
    if record is None:
        return {}
    return {key: record.values[key] for key in record.items if record.values[key] is not None}
