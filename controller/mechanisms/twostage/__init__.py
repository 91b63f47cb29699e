"""Model 4: day-ahead direct control, then a rolling Stackelberg game in prices."""

from controller.mechanisms.twostage.mechanism import TwoStage
from controller.mechanisms.twostage.settings import Settings

__all__ = ["Settings", "TwoStage"]
