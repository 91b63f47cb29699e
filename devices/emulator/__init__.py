"""Emulated devices that speak real Modbus TCP and MQTT."""

from devices.emulator.behaviour import Behaviour
from devices.emulator.plant import Endpoint, Plant

__all__ = ["Behaviour", "Endpoint", "Plant"]
