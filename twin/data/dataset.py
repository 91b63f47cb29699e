"""A folder of measured series, read when first asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from twin.data.description import NAME, Description, FileInfo, read_description
from twin.data.errors import DataError, refusal
from twin.data.series import FloatArray, Series, SeriesInfo, gridded
from twin.data.table import Table, read_table
from twin.data.units import factor
from twin.document import Problem

_MOST_PERIODS = 20_000_000
"""A wrong year must not ask for the machine's memory."""


class DataSet:
    """Series of one folder by their id."""

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description
        self._files = {info.id: file for file in description.files for info in file.series}
        self._infos = {info.id: info for file in description.files for info in file.series}
        self._series: dict[str, Series] = {}

    @classmethod
    def open(cls, path: Path | str) -> DataSet:
        """The data set of a folder (its dataset.yaml), or of a description file. Files are read when asked for.

        Raises DataError naming file, line and field of everything that is wrong.
        """
        path = Path(path)
        described = path / NAME if path.is_dir() or path.suffix != ".yaml" else path
        return cls(described.parent, read_description(described))

    @property
    def ids(self) -> tuple[str, ...]:
        """All series, in the order of the description."""
        return tuple(self._infos)

    def about(self, id: str) -> SeriesInfo:
        """What the description says of a series. Raises KeyError."""
        return self._infos[id]

    def series(self, id: str) -> Series:
        """A series with its values. Raises KeyError for an unknown id, DataError for a file that cannot be read."""
        if id not in self._series:
            self._read(self._files[id])
        return self._series[id]

    def mean_w(self, id: str, t0_us: int, t1_us: int) -> float | None:
        """Mean over [t0, t1) (W, or price per kWh of a price series); None if any gap overlaps."""
        return self.series(id).mean(t0_us, t1_us)

    def slot_means(self, id: str, start_us: int, slot_s: int, n: int) -> FloatArray:
        """Means of n slots, shape (n,); NaN where a slot touches a gap or lies outside the data."""
        return self.series(id).slot_means(start_us, slot_s, n)

    @property
    def span_us(self) -> tuple[int, int]:
        """[start, end) that all series cover. Reads every file. Raises DataError if there is none."""
        found = [self.series(id) for id in self.ids]
        start, end = max((s.start_us for s in found), default=0), min((s.end_us for s in found), default=0)
        if start >= end:
            raise refusal(NAME, 0, "files", "the series have no time in common", "describe recordings of one period")
        return start, end

    @property
    def sha256(self) -> dict[str, str]:
        """File name -> SHA-256 of its bytes, description included: the inputs of a run for its manifest."""
        names = (NAME, *dict.fromkeys(file.file for file in self.description.files))
        return {name: hashlib.sha256((self.path / name).read_bytes()).hexdigest() for name in names}

    def _read(self, file: FileInfo) -> None:
        table = read_table(self.path / file.file, file.time_column, file.zone, [info.column for info in file.series])
        index = _grid(table, file)
        shift_us = file.period_s * 1_000_000 if file.label == "end" else 0
        start_us = int(table.times_us[0]) - shift_us
        for info in file.series:
            scale = factor(info.kind, info.unit, file.period_s)
            assert scale is not None  # checked with the description
            self._series[info.id] = gridded(info, start_us, index, table.columns[info.column], scale)


def _grid(table: Table, file: FileInfo) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Period number of each row; rows must ascend and lie on the period's grid."""
    step_us = file.period_s * 1_000_000
    offsets = table.times_us - table.times_us[0]
    name, problems = Path(file.file).name, list[Problem]()
    for row in np.flatnonzero(np.diff(offsets) <= 0)[:5] + 1:
        what = "the time of the row before again" if offsets[row] == offsets[row - 1] else "earlier than the row before"
        problems.append(Problem(int(table.lines[row]), file.time_column, what, "sort the rows and keep one per time"))
    for row in np.flatnonzero(offsets % step_us)[:5]:
        what = f"not on the grid of {file.period_s} s from the first row"
        problems.append(
            Problem(int(table.lines[row]), file.time_column, what, "mend period_s in dataset.yaml or the row")
        )
    if not problems and offsets[-1] // step_us >= _MOST_PERIODS:
        row = int(np.argmax(np.diff(offsets))) + 1
        problems.append(Problem(int(table.lines[row]), file.time_column, "years after the row before", "mend the time"))
    if problems:
        raise DataError(name, problems)
    return np.asarray(offsets // step_us, dtype=np.int64)
