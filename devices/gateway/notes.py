"""The journal of one device: every write with its reason, and alarms as they come and go."""

from __future__ import annotations

from devices.gateway.setpoints import Command
from devices.gateway.terms import Terms


class Notes:
    """Writes to the journal of the terms, if there is one; alarms also stand in the device's health."""

    def __init__(self, device: str, control: str, terms: Terms) -> None:
        self._device, self._control, self._terms = device, control, terms
        self._alarms = terms.stats.health(device).alarms

    def write(self, value: int | None, state: str, reason: str, plan: str, readback: float | None = None) -> None:
        """One line."""
        if self._terms.journal is not None:
            now_us = self._terms.clock.now_us()
            self._terms.journal(Command(now_us, self._device, self._control, value, state, reason, plan, readback))

    def alarm(self, kind: str, text: str) -> bool:
        """Raise or clear (empty text) an alarm; each change is journaled once. True when it changed."""
        before = self._alarms.get(kind, "")
        if bool(before) == bool(text):
            return False
        if text:
            self._alarms[kind] = text
            self.write(None, "alarm", f"{kind}: {text}", "")
        else:
            del self._alarms[kind]
            self.write(None, "cleared", f"{kind}: {before}", "")
        return True
