"""Forecasts of demand and available PV from past data only."""

from controller.forecast.calendar import Calendar
from controller.forecast.history import Forecast, Forecaster, History, Kind
from controller.forecast.similar_days import LoadModel, PvModel, SimilarDays
from controller.forecast.skill import Skill, skill

__all__ = [
    "Calendar",
    "Forecast",
    "Forecaster",
    "History",
    "Kind",
    "LoadModel",
    "PvModel",
    "SimilarDays",
    "Skill",
    "skill",
]
