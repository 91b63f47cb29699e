"""Checks of single values and of mappings: each says what it found and what is allowed."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from twin.document.nodes import Item

REQUIRED: Final = object()
"""Default of a field that must be given."""


class Refusal(Exception):
    """A value that does not fit: what it is and what is wanted."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what, mend)
        self.what, self.mend = what, mend


Check = Callable[[Item], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a mapping: its check and its default."""

    check: Check
    default: Any = REQUIRED


Shape = Mapping[str, Field]


@dataclass(slots=True)
class Record:
    """A mapping that was read: values (None where refused), the items they came from, and its own place."""

    item: Item
    values: dict[str, Any] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def place(self, name: str) -> Item:
        """The field's item, or the whole mapping where the field was not given."""
        return self.items.get(name, self.item)

    def refuse(self, name: str, what: str, mend: str = "") -> None:
        """Note a problem of the field `name` of this mapping."""
        path = f"{self.item.path}.{name}" if self.item.path else name
        self.item.report.add(self.place(name).line, path, what, mend)


def read(item: Item, shape: Shape) -> Record:
    """Read a mapping by its shape; unknown, missing and refused fields become problems, all of them."""
    record = Record(item)
    entries = item.entries()
    if entries is None:
        return record
    lines = item.key_lines()
    for name in entries:
        if name not in shape:
            path = f"{item.path}.{name}" if item.path else name
            item.report.add(lines.get(name, item.line), path, "unknown field", _near(name, shape))
    for name, spec in shape.items():
        child = entries.get(name)
        if child is not None:
            record.items[name] = child
            record.values[name] = checked(child, spec.check)
        elif spec.default is REQUIRED:
            record.refuse(name, "missing", f"add `{name}:` here")
        else:
            record.values[name] = spec.default
    return record


def checked(item: Item, check: Check) -> Any:
    """The value as the check gives it; None with a problem noted when refused."""
    try:
        return check(item)
    except Refusal as refusal:
        item.refuse(refusal.what, refusal.mend)
        return None


def near(name: str, known: list[str]) -> str:
    """`did you mean 'tick_s'? ` or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}? " if close else ""


def _near(name: str, shape: Shape) -> str:
    return f"{near(name, list(shape))}allowed: {', '.join(sorted(shape)) or 'nothing'}"


def number(lo: float = -math.inf, hi: float = math.inf, *, above: float | None = None) -> Check:
    """A finite number in [lo, hi], or in (above, hi]."""
    wanted = _range("a number", lo, hi, above)

    def check(item: Item) -> float:
        value = item.value()
        if isinstance(value, str) and item.plain:  # YAML 1.1 reads 1e3 as text
            value = _float(value)
        if isinstance(value, bool) or not isinstance(value, int | float) or _sexagesimal(item):
            raise Refusal(item.kind(), f"{wanted} is wanted")
        if not math.isfinite(value) or not lo <= value <= hi or (above is not None and value <= above):
            raise Refusal(f"{item.raw} is out of range", f"{wanted} is wanted")
        return float(value)

    return check


def whole(lo: int, hi: int) -> Check:
    """A whole number in [lo, hi]."""

    def check(item: Item) -> int:
        value = item.value()
        if isinstance(value, bool) or not isinstance(value, int) or _sexagesimal(item):
            raise Refusal(item.kind(), f"a whole number from {lo} to {hi} is wanted")
        if not lo <= value <= hi:
            raise Refusal(f"{value} is out of range", f"a whole number from {lo} to {hi} is wanted")
        return value

    return check


def flag(item: Item) -> bool:
    """true or false."""
    value = item.value()
    if not isinstance(value, bool):
        raise Refusal(item.kind(), "true or false is wanted")
    return value


def text(item: Item) -> str:
    """Text that is not empty."""
    value = item.value()
    if not isinstance(value, str) or not value.strip():
        raise Refusal(item.kind(), "text is wanted (use quotes where YAML reads a number or date)")
    return value


def name(item: Item) -> str:
    """An identifier: it becomes part of topics, file names and addresses."""
    value = text(item)
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", value):
        raise Refusal(f"{value!r} is no name", "a letter, then letters, digits, `-`, `_` or `.`, at most 63")
    return value


def choice(*allowed: str) -> Check:
    """One of some words."""

    def check(item: Item) -> str:
        if item.raw not in allowed:
            what = f"{item.raw!r} is not known" if isinstance(item.node, yaml.ScalarNode) else item.kind()
            raise Refusal(what, f"{near(item.raw, list(allowed))}allowed: {', '.join(allowed)}")
        return item.raw

    return check


def matching(pattern: str, wanted: str) -> Check:
    """A scalar, as written, that matches a pattern (times of day, which YAML 1.1 would read as numbers)."""

    def check(item: Item) -> str:
        if not re.fullmatch(pattern, item.raw):
            what = f"{item.raw!r} does not fit" if isinstance(item.node, yaml.ScalarNode) else item.kind()
            raise Refusal(what, f"{wanted} is wanted")
        return item.raw

    return check


def section(shape: Shape) -> Check:
    """A mapping with its own fields, as a Record."""
    return lambda item: read(item, shape)


def rows(check: Check) -> Check:
    """A list; each element by the same check, refused ones left out."""

    def check_all(item: Item) -> list[Any]:
        found = (checked(element, check) for element in item.elements())
        return [value for value in found if value is not None]

    return check_all


def pair(check: Check) -> Check:
    """A list of two."""

    def check_both(item: Item) -> tuple[Any, Any] | None:
        found = [checked(element, check) for element in item.elements()]
        if len(found) != 2:
            raise Refusal(f"{len(found)} entries", "a list of two is wanted, [low, high]")
        return None if None in found else (found[0], found[1])

    return check_both


def zone(item: Item) -> str:
    """An IANA time zone."""
    value = text(item)
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal(f"{value!r} is no time zone", "an IANA name like America/Los_Angeles or UTC is wanted") from None
    return value


def optional(check: Check) -> Check:
    """The value, or None where the field is left empty."""
    return lambda item: None if item.value() is None else check(item)


def _sexagesimal(item: Item) -> bool:
    return ":" in item.raw


def _float(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _range(noun: str, lo: float, hi: float, above: float | None) -> str:
    low = f"above {above:g}" if above is not None else (f"from {lo:g}" if math.isfinite(lo) else "")
    high = (f"to {hi:g}" if low.startswith("from") else f"up to {hi:g}") if math.isfinite(hi) else ""
    if low.startswith("from") and not high:
        return f"{noun} of at least {lo:g}"
    return " ".join(part for part in (noun, low, high) if part)
