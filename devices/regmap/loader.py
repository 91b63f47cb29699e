"""Reading a register map file: every fault found at once, each with file and line."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from devices.regmap.blocks import merged
from devices.regmap.check import faults_of_controls, faults_of_derived, faults_of_points
from devices.regmap.codec import codec
from devices.regmap.errors import MapFaults, RegmapError
from devices.regmap.expression import Expression, parse
from devices.regmap.lines import Lines, read_lines
from devices.regmap.map import Control, MapPoint, RegisterMap
from devices.regmap.schema import ControlRow, MapFile, PointRow, Row, Transport


def shipped_maps() -> list[str]:
    """Names of the maps that come with this package."""
    folder = resources.files("devices") / "maps"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_map(name: str | Path) -> RegisterMap:
    """A shipped map by its name, or a file by its path. Raises MapFaults with all that is wrong in it."""
    shipped = resources.files("devices") / "maps" / f"{name}.yaml"
    if isinstance(name, str) and "/" not in name and shipped.is_file():
        return parse_map(shipped.read_text(encoding="utf-8"), f"{name}.yaml")
    path = Path(name)
    if not path.is_file():
        raise RegmapError(f"no register map {str(name)!r}", mend=f"give a path, or one of {', '.join(shipped_maps())}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RegmapError("is no text in UTF-8", where=str(path), mend="save it as UTF-8") from error
    return parse_map(text, str(path))


def parse_map(text: str, source: str) -> RegisterMap:
    """The map in `text`. Raises MapFaults."""
    lines = Lines(source)
    try:
        data = read_lines(text, lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MapFaults([f"{source}:{mark.line + 1 if mark else 1}: {error.problem or error}"]) from error
    file = _converted(data, MapFile, (), lines)
    lines.give_up()
    assert isinstance(file, MapFile)
    return _built(file, data, lines)


def _converted(data: Any, kind: type[Row], path: tuple[str, ...], lines: Lines) -> Any:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        message, _, inner = str(error).partition(" - at `$")
        keys = path + tuple(key for key in inner.rstrip("`").replace("[", ".").replace("]", "").split(".") if key)
        lines.fault(keys, message)
        return None


def _rows(data: Mapping[str, Any], section: str, kind: type[Row], lines: Lines) -> dict[str, Any]:
    rows = {name: _converted(row, kind, (section, name), lines) for name, row in data.get(section, {}).items()}
    return {name: row for name, row in rows.items() if row is not None}


def _built(file: MapFile, data: Mapping[str, Any], lines: Lines) -> RegisterMap:
    point_rows: dict[str, PointRow] = _rows(data, "points", PointRow, lines)
    control_rows: dict[str, ControlRow] = _rows(data, "controls", ControlRow, lines)
    points = _points(point_rows, file.transport, lines)
    faults_of_points(points, file, lines)
    derived = _derived(file.derived, lines)
    faults_of_derived(derived, points, lines)
    controls = {name: Control(name, row, file.transport) for name, row in control_rows.items()}
    faults_of_controls(controls, {*points, *derived}, lines)
    lines.give_up()
    try:
        blocks = merged(points, file.transport)
    except RegmapError as error:
        lines.fault(("points",), str(error))
        lines.give_up()
        raise
    return RegisterMap(
        file.model, file.kind, file.transport, file.groups, points, blocks, derived, controls, lines.source
    )


def _points(rows: Mapping[str, PointRow], transport: Transport, lines: Lines) -> dict[str, MapPoint]:
    out = {}
    for name, row in rows.items():
        try:
            kind = codec(row.type, transport.byte_order, transport.word_order)
        except RegmapError as error:
            lines.fault(("points", name, "type"), str(error))
            continue
        nans = [] if row.nan is None else row.nan if isinstance(row.nan, list) else [row.nan]
        out[name] = MapPoint(name, row, kind, row.addr - transport.address_base, frozenset(nans))
    return out


def _derived(formulas: Mapping[str, str], lines: Lines) -> dict[str, Expression]:
    out = {}
    for name, text in formulas.items():
        try:
            out[name] = parse(text)
        except RegmapError as error:
            lines.fault(("derived", name), str(error))
    return out
