"""Between the order in the registers and the machine: dead time and steady error, as a measured profile has them."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from devices.emulator.behaviour import Behaviour
from devices.emulator.unit import Command

_SECOND_US = 1_000_000


class Response:
    """Delays each change of the order by the dead time; a power follows the setpoint times the gain."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._delay_us = round(behaviour.dead_time_s * _SECOND_US)
        self._gain = behaviour.gain_pu
        self._asked = self._followed = Command()
        self._queue: deque[tuple[int, Command]] = deque()

    def take(self, command: Command, now_us: int) -> Command:
        """What the machine follows at now_us."""
        if command != self._asked:
            self._asked = command
            self._queue.append((now_us + self._delay_us, command))
        while self._queue and self._queue[0][0] <= now_us:
            self._followed = self._queue.popleft()[1]
        if self._followed.p_set_w is None or self._gain == 1:
            return self._followed
        return replace(self._followed, p_set_w=self._followed.p_set_w * self._gain)

    @property
    def next_us(self) -> int | None:
        """When it will follow something else."""
        return self._queue[0][0] if self._queue else None
