"""Faults of a register map that its shape alone does not show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations

from devices.regmap.codec import codec
from devices.regmap.errors import RegmapError
from devices.regmap.expression import Expression
from devices.regmap.lines import Lines
from devices.regmap.map import Control, MapPoint
from devices.regmap.schema import MapFile, StepRow


def faults_of_points(points: Mapping[str, MapPoint], file: MapFile, lines: Lines) -> None:
    """Unknown groups and scale factors, addresses off the wire, bits with word types, overlaps."""
    for name, point in points.items():
        where = ("points", name)
        if point.row.group not in file.groups:
            lines.fault((*where, "group"), f"no group {point.row.group!r}; groups are {', '.join(file.groups)}")
        if not 0 <= point.addr <= 65536 - point.registers:
            lines.fault((*where, "addr"), f"address {point.addr} on the wire; check address_base")
        if point.row.fc in (1, 2) and point.row.type != "bool":
            lines.fault((*where, "type"), f"function code {point.row.fc} reads bits; the type must be bool")
        if point.row.scale == 0:
            lines.fault((*where, "scale"), "0 would make every value 0")
        _factor_fault(point, points, lines)
    _overlaps(points, lines)


def _factor_fault(point: MapPoint, points: Mapping[str, MapPoint], lines: Lines) -> None:
    if not isinstance(point.row.sf, str):
        return
    sf = points.get(point.row.sf)
    where = ("points", point.name, "sf")
    if sf is None:
        lines.fault(where, f"no point {point.row.sf!r}")
    elif (sf.row.group, sf.row.fc) != (point.row.group, point.row.fc):
        lines.fault(where, f"{sf.name} must be in the same group and function code, to come in the same read")


def _overlaps(points: Mapping[str, MapPoint], lines: Lines) -> None:
    for left, right in combinations(points.values(), 2):
        apart = left.addr + left.registers <= right.addr or right.addr + right.registers <= left.addr
        if left.row.fc != right.row.fc or apart or _share_bits(left, right):
            continue
        lines.fault(
            ("points", right.name, "addr"),
            f"overlaps {left.name} (line {lines.of.get(('points', left.name), 0)}); registers of points must be apart",
        )


def _share_bits(left: MapPoint, right: MapPoint) -> bool:
    """True for bit fields of one register that do not touch each other's bits."""
    same = (left.addr, left.codec) == (right.addr, right.codec)
    return same and not (left.row.mask or -1) & (right.row.mask or -1)


def faults_of_derived(derived: Mapping[str, Expression], points: Mapping[str, MapPoint], lines: Lines) -> None:
    """A derived point may use points and what is derived above it."""
    known = set(points)
    for name, expression in derived.items():
        unknown = sorted(expression.names - known)
        if unknown:
            lines.fault(("derived", name), f"uses {', '.join(unknown)}, which no point above is called")
        if name in points:
            lines.fault(("derived", name), "is also a point")
        known.add(name)


def faults_of_controls(controls: Mapping[str, Control], points: Collection[str], lines: Lines) -> None:
    """Steps with unknown variables or types, empty ranges, read-backs of `points` (derived too) that do not exist."""
    for name, control in controls.items():
        where = ("controls", name)
        low, high = control.row.range
        if not low <= high:
            lines.fault((*where, "range"), f"[{low}, {high}] holds nothing")
        if control.row.readback.point not in points:
            lines.fault((*where, "readback"), f"no point {control.row.readback.point!r}")
        for edge in (low, high):
            if not any(step.value == "$x" for step in control.steps_for(edge)):
                lines.fault((*where, "steps"), f"no step writes $x when it is {'negative' if edge < 0 else 'positive'}")
                break
        for part, steps in (
            (("steps",), control.row.steps),
            (("revert", "steps"), control.row.revert.steps),
            (("release", "steps"), control.row.release.steps),
        ):
            for k, step in enumerate(steps):
                if step.when is not None and part != ("steps",):
                    lines.fault((*where, *part, str(k), "when"), "only the steps of an order know a sign")
                _step_faults(step, control, (*where, *part, str(k)), lines)


def _step_faults(step: StepRow, control: Control, where: tuple[str, ...], lines: Lines) -> None:
    if isinstance(step.value, str) and step.value not in ("$x", "$lease_s"):
        lines.fault((*where, "value"), f"{step.value!r}; use a number, $x or $lease_s")
    if step.scale == 0:
        lines.fault((*where, "scale"), "0 cannot be divided by")
    if not 0 <= step.addr - control.transport.address_base <= 65535:
        lines.fault((*where, "addr"), "off the wire; check address_base")
    try:
        kind = codec(step.type)
    except RegmapError as error:
        lines.fault((*where, "type"), str(error))
        return
    if step.fc in (5, 6) and kind.registers != 1:
        lines.fault((*where, "fc"), f"function code {step.fc} writes one register, {step.type} needs 16")
