"""dataset.yaml: which series a folder holds, in which files, columns and units. All its errors at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from twin.data.errors import DataError
from twin.data.series import SeriesInfo
from twin.data.units import KINDS, allowed, factor
from twin.document.fields import (
    Field,
    Record,
    Shape,
    choice,
    number,
    optional,
    pair,
    read,
    rows,
    section,
    text,
    whole,
    zone,
)
from twin.document.nodes import Report, parse

NAME = "dataset.yaml"
SCHEMA = 1

_SERIES: Shape = {
    "id": Field(text),
    "column": Field(text),
    "unit": Field(text),
    "kind": Field(choice(*KINDS)),
    "valid": Field(pair(number()), (-math.inf, math.inf)),
    "floor": Field(optional(number()), None),
}
_TIME: Shape = {
    "column": Field(text),
    "period_s": Field(whole(1, 86_400)),
    "zone": Field(zone, "UTC"),
    "label": Field(choice("start", "end"), "start"),
}
_FILE: Shape = {"file": Field(text), "time": Field(section(_TIME)), "series": Field(rows(section(_SERIES)))}
_TOP: Shape = {
    "schema": Field(whole(1, SCHEMA)),
    "name": Field(text),
    "source": Field(text),
    "licence": Field(text),
    "zone": Field(zone, "UTC"),
    "notes": Field(rows(text), ()),
    "files": Field(rows(section(_FILE))),
}


@dataclass(frozen=True, slots=True)
class FileInfo:
    """One data file and how its time labels are meant."""

    file: str
    time_column: str
    period_s: int
    zone: str
    label: Literal["start", "end"]
    series: tuple[SeriesInfo, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What dataset.yaml says."""

    name: str
    source: str
    licence: str
    zone: str
    """Where the data were measured; for reports. Files carry their own."""
    notes: tuple[str, ...]
    """Honest words about the data, shown in reports."""
    files: tuple[FileInfo, ...]


def read_description(path: Path) -> Description:
    """Read and check dataset.yaml; its files must exist. Raises DataError."""
    report = Report()
    try:
        source = path.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        report.add(0, "", f"{error.strerror} ({path})", "a data folder needs a dataset.yaml; see examples/data/homes")
        raise DataError(path.name, report.problems) from error
    root = parse(source, report)
    top = read(root, _TOP) if root else None
    if top:
        _check_files(top, path.parent)
        _check_series(top)
    if report.problems or top is None:
        raise DataError(path.name, report.problems)
    files = tuple(_file(record) for record in top["files"])
    return Description(top["name"], top["source"], top["licence"], top["zone"], tuple(top["notes"]), files)


def _check_files(top: Record, folder: Path) -> None:
    for record in top["files"] or []:
        if record["file"] and not (folder / record["file"]).is_file():
            record.refuse("file", f"no file {record['file']}", "put it beside dataset.yaml or mend the name")
        if record["file"] and not record["file"].endswith((".csv", ".csv.gz", ".parquet")):
            record.refuse("file", f"{record['file']} is of no known format", "allowed: .csv, .csv.gz, .parquet")


def _check_series(top: Record) -> None:
    seen: dict[str, Record] = {}
    for file in top["files"] or []:
        for record in file["series"] or []:
            first = seen.setdefault(record["id"], record) if record["id"] else record
            if first is not record:
                what = f"{record['id']!r} is used twice (first in line {first.item.line})"
                record.refuse("id", what, "series need own ids")
            kind, unit = record["kind"], record["unit"]
            if kind and unit and factor(kind, unit, 3600) is None:
                record.refuse("unit", f"{unit!r} does not fit {kind}", f"allowed: {allowed(kind)}")


def _file(record: Record) -> FileInfo:
    time: dict[str, Any] = record["time"].values
    series = tuple(
        SeriesInfo(
            id=row["id"],
            kind=row["kind"],
            unit=row["unit"],
            file=record["file"],
            column=row["column"],
            period_s=time["period_s"],
            valid=row["valid"],
            floor=row["floor"],
        )
        for row in record["series"]
    )
    return FileInfo(record["file"], time["column"], time["period_s"], time["zone"], time["label"], series)
