"""Merging points into read requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from devices.regmap.errors import RegmapError
from devices.regmap.map import Block, MapPoint
from devices.regmap.schema import Transport

Span = tuple[int, int, tuple[MapPoint, ...]]
"""First register, register after the last, points: what must come in one request."""


def merged(points: Mapping[str, MapPoint], transport: Transport) -> tuple[Block, ...]:
    """Blocks of <= max_block registers with gaps <= max_gap, in order of (group, function code, address).

    Raises RegmapError when a value and its scale factor cannot come in one request.
    """
    out: list[Block] = []
    ordered = sorted(points.values(), key=_space)
    for (group, fc), members in groupby(ordered, key=_space):
        for first, after, inside in _packed(_atoms(list(members)), transport):
            out.append(Block(fc, first, after - first, group, inside))
    return tuple(out)


def _space(point: MapPoint) -> tuple[str, int]:
    return point.row.group, point.row.fc


def _atoms(points: Sequence[MapPoint]) -> list[Span]:
    """Points that must be read together: a value, its scale factor and all that lies between them."""
    spans: list[Span] = [(point.addr, point.addr + point.registers, (point,)) for point in points]
    by_name = {point.name: point for point in points}
    for point in points:
        sf = by_name.get(point.row.sf) if isinstance(point.row.sf, str) else None
        if sf is not None:
            low, high = min(point.addr, sf.addr), max(point.addr + point.registers, sf.addr + sf.registers)
            spans.append((low, high, ()))
    return _united(spans)


def _united(spans: Iterable[Span]) -> list[Span]:
    out: list[Span] = []
    for first, after, inside in sorted(spans, key=lambda span: (span[0], span[1])):
        if out and first < out[-1][1]:
            head = out[-1]
            out[-1] = (head[0], max(head[1], after), head[2] + inside)
        else:
            out.append((first, after, inside))
    return out


def _packed(atoms: Iterable[Span], transport: Transport) -> list[Span]:
    out: list[Span] = []
    for first, after, inside in atoms:
        if after - first > transport.max_block:
            raise RegmapError(
                f"{', '.join(point.name for point in inside)} span {after - first} registers",
                mend=f"a value and its scale factor must fit one request of {transport.max_block}",
            )
        head = out[-1] if out else None
        if head and first - head[1] <= transport.max_gap and after - head[0] <= transport.max_block:
            out[-1] = (head[0], after, head[2] + inside)
        else:
            out.append((first, after, inside))
    return out
