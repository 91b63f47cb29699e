"""Physics of emulated devices: frozen parameters, a small state, pure step functions. No protocol, no clock.

Bus sign throughout: power > 0 flows into the site's bus.
"""

from devices.models.battery import BatteryParameters, BatteryState
from devices.models.counter import Counter, EnergyCounters
from devices.models.load import LoadParameters
from devices.models.meter import MeterParameters
from devices.models.parameters import ModelError
from devices.models.pv import PvParameters
from devices.models.turbine import TurbineMode, TurbineParameters, TurbineState

__all__ = [
    "BatteryParameters",
    "BatteryState",
    "Counter",
    "EnergyCounters",
    "LoadParameters",
    "MeterParameters",
    "ModelError",
    "PvParameters",
    "TurbineMode",
    "TurbineParameters",
    "TurbineState",
]
