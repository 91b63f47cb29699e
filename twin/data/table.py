"""A data file as columns: times in µs UTC and the raw numbers, with the line each row came from."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import math
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.data.errors import DataError, refusal
from twin.data.labels import LabelError, Labels
from twin.data.series import FloatArray
from twin.document import Problem

_MOST_PROBLEMS = 20
_GAP_WORDS = frozenset(("", "nan", "null", "na"))
_AGAIN = "fetch or write the file again"


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one file."""

    times_us: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    """Line (CSV) or row (Parquet) of each entry, from 1."""
    columns: dict[str, FloatArray]


def read_table(path: Path, time_column: str, zone: str, wanted: Iterable[str]) -> Table:
    """Read .csv, .csv.gz or .parquet. Raises DataError with file, line and column of what is wrong."""
    names = list(dict.fromkeys(wanted))
    if path.name.endswith(".parquet"):
        return _read_parquet(path, time_column, zone, names)
    return _read_csv(path, time_column, zone, names)


def header(path: Path) -> list[str]:
    """The column names of a .csv or .csv.gz file; empty where it has none. Raises DataError."""
    return next(_csv_rows(path), (1, list[str]()))[1]


def _read_csv(path: Path, time_column: str, zone: str, names: list[str]) -> Table:
    rows = _csv_rows(path)
    _, header = next(rows, (1, []))
    places = {name: _place(path.name, header, name) for name in (time_column, *names)}
    labels, problems = Labels(zone), list[Problem]()
    times, lines, cells = list[int](), list[int](), list[list[float]]()
    for line, row in rows:
        if len(row) != len(header):
            problems.append(Problem(line, "", f"{len(row)} fields, the header has {len(header)}", _AGAIN))
        else:
            times.append(_time(row[places[time_column]], labels, line, time_column, problems))
            cells.append([_number(row[places[name]], line, name, problems) for name in names])
            lines.append(line)
        if len(problems) >= _MOST_PROBLEMS:
            break
    if problems:
        raise DataError(path.name, problems)
    if not times:
        raise refusal(path.name, 0, "", "no rows", _AGAIN)
    grid = np.array(cells, dtype=np.float64).reshape(len(times), len(names))
    return Table(np.array(times), np.array(lines), {name: grid[:, k] for k, name in enumerate(names)})


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    line = 0
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream)
            for row in reader:
                line = reader.line_num
                if row:
                    yield line, row
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise refusal(path.name, line, "", f"truncated or damaged here ({error})", _AGAIN) from error
    except UnicodeDecodeError as error:
        raise refusal(path.name, line, "", "not UTF-8 text", "save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise refusal(path.name, line, "", f"cannot be read: {error}", _AGAIN) from error


def _place(file: str, header: list[str], name: str) -> int:
    if name not in header:
        raise refusal(file, 1, "", f"no column {name!r}", f"columns: {', '.join(header) or 'none'}")
    return header.index(name)


def _time(text: str, labels: Labels, line: int, column: str, problems: list[Problem]) -> int:
    try:
        return labels.utc_us(text)
    except LabelError as error:
        problems.append(Problem(line, column, str(error), "write times like 2016-09-05T07:00:00Z"))
        return 0


def _number(text: str, line: int, column: str, problems: list[Problem]) -> float:
    if text.strip().lower() in _GAP_WORDS:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        problems.append(
            Problem(line, column, f"{text!r} is no number", "leave the field empty where nothing was measured")
        )
    return value


def _read_parquet(path: Path, time_column: str, zone: str, names: list[str]) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        header = list(file.schema_arrow.names)
        for name in (time_column, *names):
            _place(path.name, header, name)
        table = file.read(columns=[time_column, *names])
    except (pa.ArrowException, OSError) as error:
        raise refusal(path.name, 0, "", f"truncated or damaged ({error})", _AGAIN) from error
    if not table.num_rows:
        raise refusal(path.name, 0, "", "no rows", _AGAIN)
    lines = np.arange(1, table.num_rows + 1)
    times = _parquet_times(path.name, table.column(time_column), time_column, zone)
    return Table(times, lines, {name: _parquet_numbers(path.name, table.column(name), name) for name in names})


def _parquet_times(file: str, column: Any, name: str, zone: str) -> npt.NDArray[np.int64]:
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type) or column.null_count:
        raise refusal(
            file, 0, name, f"{column.type} with {column.null_count} gaps", "a timestamp in every row is wanted"
        )
    micros = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64()).to_numpy()
    if column.type.tz is not None:
        return np.asarray(micros, dtype=np.int64)
    labels, epoch = Labels(zone), dt.datetime(1970, 1, 1)
    problems: list[Problem] = []
    found = []
    for row, micro in enumerate(micros.tolist(), start=1):
        try:
            found.append(labels.utc_us(epoch + dt.timedelta(microseconds=micro)))
        except LabelError as error:
            problems.append(Problem(row, name, str(error), "drop the row or store UTC"))
    if problems:
        raise DataError(file, problems[:_MOST_PROBLEMS])
    return np.array(found, dtype=np.int64)


def _parquet_numbers(file: str, column: Any, name: str) -> FloatArray:
    import pyarrow as pa

    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise refusal(file, 0, name, f"a column of {column.type}", "a column of numbers is wanted")
    values = np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if np.isinf(values).any():
        raise refusal(file, int(np.flatnonzero(np.isinf(values))[0]) + 1, name, "infinite", "leave it empty")
    return values
