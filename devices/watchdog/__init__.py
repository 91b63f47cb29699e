"""The watchdog: a small second process that makes devices safe when the service dies, hangs or falls silent."""

from devices.watchdog.client import Watchdog, WatchdogError

__all__ = ["Watchdog", "WatchdogError"]
