"""Forecasts of demand and available PV from past data only."""

from controller.forecast.calendar import Calendar
from controller.forecast.choice import METHODS, forecaster
from controller.forecast.history import Forecast, Forecaster, History, Kind
from controller.forecast.intervals import LEVELS, Calibrated
from controller.forecast.similar_days import LoadModel, PvModel, SimilarDays
from controller.forecast.skill import Skill, skill
from controller.forecast.week_mean import WeekMean

__all__ = [
    "LEVELS",
    "METHODS",
    "Calendar",
    "Calibrated",
    "Forecast",
    "Forecaster",
    "History",
    "Kind",
    "LoadModel",
    "PvModel",
    "SimilarDays",
    "Skill",
    "WeekMean",
    "forecaster",
    "skill",
]
