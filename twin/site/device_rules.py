"""What must hold for one device: its references, how it is reached, its fail-safe, ranges and series."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from devices.adapter import shipped_adapters
from twin.data import DataSet
from twin.document.fields import Record, near
from twin.site.maps import known_maps

_SERIES_KIND: Mapping[str, str] = {"pv": "pv", "meter": "load", "load": "load"}


def check_device(device: Record, top: Record, dataset: DataSet | None, folder: Path) -> None:
    """Every rule of one device."""
    _check_references(device, top)
    _check_transport(device, folder)
    _check_failsafe(device)
    _check_control(device)
    _check_ranges(device)
    model = device["model"]
    if isinstance(model, Record) and model["series"]:
        check_series(model, "series", model["series"], _SERIES_KIND[device["kind"]], dataset)


def check_series(record: Record, field: str, id: str, kind: str, dataset: DataSet | None) -> None:
    """A series must be in the data set and of the right kind."""
    if dataset is None:
        return
    if id not in dataset.ids:
        mend = near(id, list(dataset.ids)) + f"the data set has: {some(list(dataset.ids))}"
        record.refuse(field, f"no series {id!r}", mend)
    elif dataset.about(id).kind != kind:
        fitting = [other for other in dataset.ids if dataset.about(other).kind == kind]
        record.refuse(field, f"{id!r} is a series of {dataset.about(id).kind}", f"{kind} is wanted: {some(fitting)}")


def some(names: list[str]) -> str:
    """The first names of a list, for messages."""
    shown = ", ".join(names[:8])
    return f"{shown}, ... ({len(names)})" if len(names) > 8 else shown or "none"


def _check_references(device: Record, top: Record) -> None:
    for key, records in (("party", top["parties"] or []), ("link", top["links"] or [])):
        wanted = device[key]
        known = list(dict.fromkeys(record["id"] for record in records if record["id"]))
        if wanted and wanted not in known:
            mend = near(wanted, known) + f"known: {some(known)}"
            device.refuse(key, f"no {key} {wanted!r}", mend)


def _check_transport(device: Record, folder: Path) -> None:
    modbus = [key for key in ("link", "unit", "map") if device[key] is not None]
    if device["adapter"] and not device["mqtt"]:
        device.refuse("adapter", "only meters on MQTT have one", "add `mqtt: true`, or remove `adapter`")
    elif device["adapter"] and not device["adapter"].endswith((".yaml", ".yml")):
        known = list(shipped_adapters())
        if device["adapter"] not in known:
            device.refuse("adapter", f"no adapter {device['adapter']!r}", f"shipped: {some(known)}")
    if device["mqtt"]:
        for key in modbus:
            device.refuse(key, "an MQTT device has none", f"remove `{key}` or `mqtt: true`")
        return
    if device.items.get("mqtt") and not modbus:
        device.refuse("mqtt", "false, and no link either", "give link, unit and map, or `mqtt: true`")
        return
    for key in ("link", "unit", "map"):
        if key not in device.items:
            device.refuse(key, "missing", "a Modbus device needs link, unit and map; an MQTT device `mqtt: true`")
    if device["map"]:
        _check_map(device, folder)


def _check_map(device: Record, folder: Path) -> None:
    known = known_maps()
    wanted = device["map"]
    if wanted in known:
        kind = known[wanted]
        if device["kind"] and kind and kind != device["kind"]:
            device.refuse(
                "map", f"{wanted} describes a {kind}, this device is a {device['kind']}", "choose its own map"
            )
    elif wanted.endswith((".yaml", ".yml")):
        if not (folder / wanted).is_file():
            device.refuse("map", f"no file {wanted}", "paths count from the site file")
    else:
        device.refuse("map", f"no register map {wanted!r}", near(wanted, list(known)) + f"shipped: {some(list(known))}")


def _check_failsafe(device: Record) -> None:
    if device["kind"] in (None, "meter"):
        return
    if "failsafe" not in device.items:
        device.refuse("failsafe", "missing", "say what makes it safe when control is lost: device or watchdog")
    elif device["failsafe"] == "none" and not device["accept_unsafe"]:
        mend = "use device or watchdog, or say `accept_unsafe: true`"
        device.refuse("failsafe", "none leaves the last setpoint in force when control is lost", mend)
    elif device["failsafe"] == "watchdog" and device["mqtt"]:
        device.refuse("failsafe", "the watchdog reaches devices over their own links only", "use device")


def _check_control(device: Record) -> None:
    control = device["control"]
    if control and device["kind"] == "meter":
        control.item.refuse("a meter takes no orders", "remove `control`")
    elif control and control["range_w"] and control["range_w"][0] > control["range_w"][1]:
        low, high = control["range_w"]
        control.refuse("range_w", f"{low:g} is above {high:g}", "[low, high] in W, charging negative")


def _check_ranges(device: Record) -> None:
    behaviour = device["behaviour"]
    if behaviour and None not in (behaviour["dies_at_s"], behaviour["back_at_s"]):
        dies, back = behaviour["dies_at_s"], behaviour["back_at_s"]
        if back <= dies:
            behaviour.refuse("back_at_s", f"{back:g} is not after dies_at_s ({dies:g})", "it returns after it left")
    model = device["model"]
    if not isinstance(model, Record):
        return
    for low, high in (("soc_min_pu", "soc_max_pu"), ("p_min_w", "p_max_w")):
        if model[low] is not None and model[high] is not None and model[low] >= model[high]:
            model.refuse(low, f"{model[low]:g} is not below {high} ({model[high]:g})", "leave room between them")
    soc0, low_pu, high_pu = model["soc0_pu"], model["soc_min_pu"], model["soc_max_pu"]
    if None not in (soc0, low_pu, high_pu) and not low_pu <= soc0 <= high_pu:
        model.refuse("soc0_pu", f"{soc0:g} is outside soc_min_pu..soc_max_pu", f"from {low_pu:g} to {high_pu:g}")
    if device["kind"] == "storage" and model.values:
        given = [key for key in ("p_charge_w", "p_discharge_w") if key in model.items]
        if "p_w" not in model.items and len(given) < 2:
            model.refuse("p_w", "missing", "give p_w, or p_charge_w and p_discharge_w")
