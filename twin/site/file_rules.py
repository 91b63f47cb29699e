"""What must hold for the files that a site file names: register maps, adapters, profiles, the broker's authority."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

from devices import profile
from devices.adapter import load_adapter
from devices.errors import DeviceError
from devices.regmap import load_map
from devices.regmap.errors import MapFaults
from twin.document.fields import Record


def check_files(top: Record, folder: Path) -> None:
    """Open and read every file, so that a slip in one shows before a device is met; paths count from the site file."""
    for device in top["devices"] or []:
        _check_map(device, folder)
        if _is_own(device["adapter"]):
            _check_file(device, "adapter", folder, load_adapter)
        if isinstance(device["behaviour"], Record):
            _check_file(device["behaviour"], "profile", folder, profile.read)
    broker = top["broker"]
    if broker:
        _check_file(broker, "tls_ca", folder, _read_authority)


def _is_own(name: str | None) -> bool:
    """A file of the user's; other names are of what ships with the package."""
    return name is not None and name.endswith((".yaml", ".yml"))


def _check_map(device: Record, folder: Path) -> None:
    """Each fault of a map is a problem of its own, with the line in the map."""
    name = device["map"]
    if not _is_own(name) or not (folder / name).is_file():
        return
    try:
        found = load_map(folder / name)
    except MapFaults as error:
        for fault in error.faults:
            device.refuse("map", fault, "" if "; " in fault else "correct the map")
    except DeviceError as error:
        device.refuse("map", str(error))
    else:
        if device["kind"] and found.kind not in (device["kind"], "gateway"):
            what = f"{name} describes a {found.kind}, this device is a {device['kind']}"
            device.refuse("map", what, "correct `kind` in one of them")


def _check_file(record: Record, key: str, folder: Path, read: Callable[[str], object]) -> None:
    name = record[key]
    if name is None:
        return
    if not (folder / name).is_file():
        record.refuse(key, f"no file {name}", "paths count from the site file")
        return
    try:
        read(str(folder / name))
    except DeviceError as error:
        record.refuse(key, str(error))


def _read_authority(path: str) -> None:
    """Raises DeviceError for a file that no TLS client could use."""
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise DeviceError(
            "no certificate of an authority", where=path, mend="`vpptwin init` writes one as ca.crt"
        ) from error
