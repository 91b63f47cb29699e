"""The error of a data set."""

from __future__ import annotations

from twin.document import DocumentError, Problem


class DataError(DocumentError):
    """All problems of one data file, one line each: `home-1.csv.gz:812 load_kwh: what; mend`."""


def refusal(file: str, line: int, column: str, what: str, mend: str = "") -> DataError:
    """The error of one problem."""
    return DataError(file, [Problem(line, column, what, mend)])
