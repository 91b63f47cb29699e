"""The gateway: what the service knows of all devices, and the only way to write to one."""

from devices.gateway.gateway import Gateway, GatewayStalled
from devices.gateway.setpoints import Command
from devices.gateway.stats import DeviceHealth, Stats

__all__ = ["Command", "DeviceHealth", "Gateway", "GatewayStalled", "Stats"]
