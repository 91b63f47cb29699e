"""Measured series from tidy files: what was recorded, with its gaps, in W or price per kWh."""

from twin.data.dataset import DataSet
from twin.data.errors import DataError
from twin.data.series import Series, SeriesInfo

__all__ = ["DataError", "DataSet", "Series", "SeriesInfo"]
