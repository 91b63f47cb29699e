"""One controlled device: what is wanted of it, the order in force, its lease.

Invariant: nothing is written that did not pass the envelope, and no order outlives the controller's `until_us`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from devices.clock import Clock
from devices.drivers import Driver, ReadBack
from devices.drivers.driver import DriverError
from devices.envelope import Limits, Mode, State, enveloped, sound
from devices.gateway.setpoints import Action, Command, Event, Order, step
from devices.gateway.setpoints import State as OrderState
from devices.gateway.stats import Stats
from devices.modbus import ConfigurationFault, ModbusFault, ModbusLink
from devices.regmap.errors import RegmapError
from devices.sunspec.errors import SunSpecError

Journal = Callable[[Command], None]
MICRO = 1_000_000
_REFUSED = (ConfigurationFault, DriverError, SunSpecError, RegmapError)
"""The same write would fail again: the device, its map or its driver does not take it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The newest word of the controller."""

    value_w: float
    until_us: int
    slot_us: int
    reason: str
    plan: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all devices of a gateway."""

    clock: Clock
    lease_s: float
    mode: Mode
    journal: Journal | None
    stats: Stats
    lockstep: bool


class LeaseHolder:
    """Drives one device to the controller's wish and keeps its lease."""

    def __init__(self, driver: Driver, limits: Limits, terms: Terms) -> None:
        self.driver = driver
        self.limits = limits
        self.wish: Wish | None = None
        self.order: Order | None = None
        self._terms = terms
        self._soc: tuple[float, int] | None = None
        """State of charge and when it was read; unknown again after one lease."""
        self._shown: ReadBack | None = None
        self._written_us: int | None = None
        """When the lease was last written; None while no order of ours is in force."""
        self._value_w: int | None = None
        self._ended: set[tuple[int, int]] = set()

    @property
    def control(self) -> str:
        return self.limits.control

    def observe(self, values: Mapping[str, float | int]) -> None:
        """Take note of a poll."""
        if "soc_pu" in values:
            self._soc = (values["soc_pu"], self._terms.clock.now_us())
        if self.control in values:
            self._shown = ReadBack(values[self.control], values.get("set_ena", 1) == 1, values.get("set_left_s"))

    def blind(self) -> None:
        """The device did not answer: what it holds is not known any more."""
        self._shown = None

    def ask(self, wish: Wish) -> None:
        """The newest wish replaces the one before; the order in force changes when it is settled."""
        if self.wish is None or wish.slot_us != self.wish.slot_us:
            self._ended = {key for key in self._ended if key[1] == wish.slot_us}
        elif self.order is not None and self.order.state is OrderState.EXPIRED:
            self.order = None
        self.wish = wish

    async def settle(self, link: ModbusLink, ready: bool) -> None:
        """Bring the device as far as it goes now; `ready` = it can be written to.

        Device faults end in a state of the order, not in an exception.
        """
        now_us = self._terms.clock.now_us()
        if self.wish is None:
            if self._written_us is not None:
                await self.release(link, "the release before did not reach the device")
            return
        if now_us >= self.wish.until_us:
            await self.release(link, "no order any more: the controller's time is over")
            return
        target = enveloped(self.wish.value_w, self.limits, self._state(now_us), self._terms.mode)
        if target is None:
            return
        order = self._activated(target, now_us)
        if order.open:
            await self._drive(order, link, ready)
        elif order.state not in (OrderState.VERIFIED, OrderState.DIVERGED) or not ready:
            return
        elif self._refresh_due(order, now_us):
            await self._refresh(order, link, now_us)

    async def release(self, link: ModbusLink, reason: str) -> bool:
        """Run the release steps; True when the device took them or nothing of ours was in force."""
        plan = self.wish.plan if self.wish else ""
        self.forget()
        if self._written_us is None:
            return True
        try:
            await self.driver.release(link)
        except (ModbusFault, *_REFUSED) as error:
            self._note(None, "release failed", f"{reason}; {error}", plan)
            # The device's own revert time ends it; until then each settle tries again.
            if self._terms.clock.now_us() - self._written_us >= self._terms.lease_s * MICRO:
                self._written_us = None
            return False
        self._written_us, self._value_w = None, None
        self._note(None, "released", reason, plan)
        return True

    def forget(self) -> None:
        """No wish any more; an open order ends as superseded."""
        self.wish = None
        if self.order is not None and self.order.open:
            self._fire(self.order, Event.EXPIRE if self._overdue(self.order) else Event.REPLACE)
        self.order = None

    @property
    def in_force(self) -> bool:
        """True while the device may be under an order of ours."""
        return self._written_us is not None

    def _state(self, now_us: int) -> State:
        elapsed_s = 0.0 if self._written_us is None else (now_us - self._written_us) / MICRO
        known = self._soc is not None and now_us - self._soc[1] <= self._terms.lease_s * MICRO
        return State(self._soc[0] if self._soc and known else None, self._value_w, elapsed_s)

    def _activated(self, target: int, now_us: int) -> Order:
        assert self.wish is not None
        order, wish = self.order, self.wish
        if order is not None and order.key == (target, wish.slot_us):
            return order
        if order is not None and order.open:
            self._fire(order, Event.REPLACE)
        reason = wish.reason
        if not sound(wish.value_w) or target != round(wish.value_w):
            reason = f"{reason}; {wish.value_w} W limited to {target} W by the safety envelope"
        new = Order(target, wish.slot_us, now_us, reason, wish.plan)
        new.counts = new.key not in self._ended
        self.order = new
        self._journal(new)
        return new

    async def _drive(self, order: Order, link: ModbusLink, ready: bool) -> None:
        now_us = self._terms.clock.now_us()
        if self._overdue(order):
            self._fire(order, Event.EXPIRE)
        elif self._terms.mode == "shadow":
            self._fire(order, Event.WITHHOLD)
        elif order.state is OrderState.QUEUED and self._held(order, now_us):
            self._fire(order, Event.HELD)
        elif ready:
            await self._write(order, link)

    async def _write(self, order: Order, link: ModbusLink) -> None:
        self._fire(order, Event.WRITE)
        try:
            await self._put(order, link)
            self._fire(order, Event.ACK)
            await self._check(order, link)
        except _REFUSED as error:
            self._fire(order, Event.REFUSE, str(error))
        except ModbusFault as error:
            self._shown = None
            self._fire(order, Event.LOSE, str(error))

    async def _put(self, order: Order, link: ModbusLink) -> None:
        now_us = self._terms.clock.now_us()
        # From here on the device may be under this order, even if the write fails half-way.
        self._written_us = now_us if self._written_us is None else self._written_us
        await self.driver.write_order(link, order.value, self._terms.lease_s)
        self._written_us, self._value_w = now_us, order.value

    async def _check(self, order: Order, link: ModbusLink) -> None:
        for attempt in range(2):
            if attempt and not self._terms.lockstep:
                within_us = math.ceil(self.driver.within_s * MICRO)
                await self._terms.clock.sleep_until_us(self._terms.clock.now_us() + within_us)
            self._shown = await self.driver.read_back(link)
            order.readback = self._shown.value_w
            if self._matches(order, self._shown):
                self._fire(order, Event.MATCH)
                return
            self._fire(order, Event.MISMATCH, self._difference(order))

    def _difference(self, order: Order) -> str:
        shown = self._shown
        if shown is None or shown.value_w is None:
            return f"{order.value} W ordered, nothing read back"
        enabled = "" if shown.enabled else ", not enabled"
        return f"{order.value} W ordered, read back as {shown.value_w:g} W{enabled}"

    async def _refresh(self, order: Order, link: ModbusLink, now_us: int) -> None:
        try:
            await self._put(order, link)
            self._shown = await self.driver.read_back(link)
        except (ModbusFault, *_REFUSED) as error:
            # Verified stays verified; the next settle tries again and the device reverts by itself at worst.
            self._shown = None
            self._note(order.value, "refresh failed", str(error), order.plan)

    def _refresh_due(self, order: Order, now_us: int) -> bool:
        """Half of the lease is used up, or the device no longer holds what was verified."""
        if not self._lease_is_young(now_us):
            return True
        return order.state is OrderState.VERIFIED and not self._matches(order, self._shown)

    def _lease_is_young(self, now_us: int) -> bool:
        written = self._written_us
        return written is not None and now_us - written < self._terms.lease_s * MICRO / 2

    def _matches(self, order: Order, shown: ReadBack | None) -> bool:
        if shown is None or shown.value_w is None or not shown.enabled:
            return False
        return abs(shown.value_w - order.value) <= self.driver.tolerance_w

    def _held(self, order: Order, now_us: int) -> bool:
        """Compare before write: the same watts were written, are still shown, and their lease is young."""
        return self._value_w == order.value and self._matches(order, self._shown) and self._lease_is_young(now_us)

    def _overdue(self, order: Order) -> bool:
        return self._terms.clock.now_us() - order.born_us >= self._terms.lease_s * MICRO

    def _fire(self, order: Order, event: Event, detail: str = "") -> None:
        order.state, action = step(order.state, event)
        stats = self._terms.stats
        if action is Action.SEND and not order.sent:
            order.sent = True
            stats.sent += order.counts
        elif action is Action.END and order.sent:
            if order.counts:
                stats.ended(order.state)
            self._ended.add(order.key)
        self._journal(order, detail)

    def _journal(self, order: Order, detail: str = "") -> None:
        reason = f"{order.reason}; {detail}" if detail else order.reason
        self._note(order.value, order.state.value, reason, order.plan, order.readback)

    def _note(self, value: int | None, state: str, reason: str, plan: str, readback: float | None = None) -> None:
        if self._terms.journal is not None:
            now_us = self._terms.clock.now_us()
            self._terms.journal(
                Command(now_us, self.driver.spec.id, self.control, value, state, reason, plan, readback)
            )
