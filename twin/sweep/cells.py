"""A cell of a sweep: one span, seed, setting and policy; what it cost by day. One JSON file each, written at once."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from twin.errors import TwinError
from twin.sweep.choice import SettingName, Span


class Place(msgspec.Struct, frozen=True):
    """Where a cell lies in the sweep."""

    span: Span
    seed: int
    setting: SettingName
    policy: str

    @property
    def name(self) -> str:
        """Its file's name, without suffix: readable, and different for different cells."""
        policy = re.sub(r"[^\w.-]", "-", self.policy)
        if policy != self.policy:
            policy += "-" + hashlib.sha256(self.policy.encode()).hexdigest()[:8]
        return f"{self.span.start}-{self.span.days}d-seed{self.seed}-{self.setting}-{policy}"


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy did with its days."""

    place: Place
    inputs: str
    """SHA-256 of everything it was computed from, the program included."""
    netting: str
    dates: tuple[str, ...]
    cost: tuple[float, ...]
    """Of each day, currency; they add up to the span's cost."""
    parts: tuple[dict[str, float], ...]
    """Of each day: import, export, fuel, wear, comfort, change of stored energy, excess over the feeder's limit."""
    plans: int = 0
    max_gap: float | None = None
    """Largest certified gap of an intraday plan."""
    seconds: float = 0.0
    """Of the wall, and of the processor: for information only."""
    cpu_s: float = 0.0
    notes: tuple[str, ...] = ()


class Store:
    """The finished cells in a folder. A cell of other inputs than asked for counts as not there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, place: Place, inputs: str) -> Cell | None:
        """The finished cell, None where there is none of these inputs. Raises TwinError where its file is damaged."""
        path = self._path(place)
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Cell)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise TwinError(
                f"damaged: {error}", where=str(path), mend="remove the file; it is computed again"
            ) from error
        return found if found.inputs == inputs and found.place == place else None

    def keep(self, cell: Cell) -> None:
        """Write the cell; whoever looks sees the whole file or none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(cell.place)
        part = path.with_name(path.name + ".part")
        part.write_bytes(orjson.dumps(msgspec.to_builtins(cell), option=orjson.OPT_INDENT_2) + b"\n")
        os.replace(part, path)

    def _path(self, place: Place) -> Path:
        return self.folder / f"{place.name}.json"


def inputs_of(place: Place, facts: Mapping[str, Any]) -> str:
    """The hash by which a finished cell is recognised. `facts` is plain JSON."""
    plain = {"place": msgspec.to_builtins(place), **facts}
    return hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).hexdigest()
