"""What the gateway counts, as CONTRACT "Figures of a run" defines it."""

from __future__ import annotations

from dataclasses import dataclass, field

from devices.gateway.setpoints import State

_ENDS = frozenset({State.VERIFIED, State.REJECTED, State.EXPIRED, State.DIVERGED, State.SUPERSEDED})


@dataclass(slots=True)
class DeviceHealth:
    """One device as last seen."""

    connected: bool = False
    last_us: int | None = None
    """Time of the last good sample."""
    latency_s: float | None = None
    """Wall time of the last poll; never enters a ledger, digest or order."""
    last_error: str = ""
    failures: int = 0
    """Since the last success."""
    alarms: dict[str, str] = field(default_factory=dict)
    """What stands now, by kind: local (switched to local control), diverged, master (another one writes), budget
    (writes used up), watchdog (nobody would make it safe)."""

    def age_s(self, now_us: int) -> float | None:
        return None if self.last_us is None else (now_us - self.last_us) / 1e6


@dataclass(slots=True)
class Stats:
    """Counters since the start; `devices` by id."""

    received: int = 0
    missing: int = 0
    """Expected readings that an outage took (no connection, no answer, back-off)."""
    lost: int = 0
    """Expected readings that did not come though the link was up, plus what was dropped."""
    sent: int = 0
    verified: int = 0
    rejected: int = 0
    expired: int = 0
    diverged: int = 0
    superseded: int = 0
    refused_messages: int = 0
    """MQTT messages that are not telemetry of this site: malformed, too long, retained, of unknown devices."""
    duplicates: int = 0
    """MQTT telemetry seen before or overtaken."""
    implausible: int = 0
    """Values that were not believed (gateway/plausible.py) and left out of their readings."""
    dropped: int = 0
    """MQTT messages thrown away because the queue was full; part of `lost`."""
    devices: dict[str, DeviceHealth] = field(default_factory=dict)

    def health(self, device: str) -> DeviceHealth:
        """Of a device, made when it is asked for first."""
        return self.devices.setdefault(device, DeviceHealth())

    def ended(self, state: State) -> None:
        """Count one end of an order that was sent."""
        if state in _ENDS:
            setattr(self, state.value, getattr(self, state.value) + 1)
