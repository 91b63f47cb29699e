"""One controlled device: what is wanted of it, the order in force, its lease.

Invariant: nothing is written that did not pass the envelope, and no order outlives the controller's `until_us`, nor a
controller that falls silent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from devices.drivers import Driver
from devices.drivers.driver import DriverError
from devices.envelope import Limits, State, enveloped, sound
from devices.gateway.budget import WriteBudget
from devices.gateway.notes import Notes
from devices.gateway.setpoints import Action, Event, Order, step
from devices.gateway.setpoints import State as OrderState
from devices.gateway.standing import MICRO, Holds, Standing
from devices.gateway.terms import Terms, Wish
from devices.modbus import ConfigurationFault, ModbusFault, ModbusLink
from devices.regmap.errors import RegmapError
from devices.sunspec.errors import SunSpecError

_REFUSED = (ConfigurationFault, DriverError, SunSpecError, RegmapError)
"""The same write would fail again: the device, its map or its driver does not take it."""
_LOCAL = "switched to local control (LocRemCtl): the device takes no orders"


class LeaseHolder:
    """Drives one device to the controller's wish and keeps its lease."""

    def __init__(self, driver: Driver, limits: Limits, terms: Terms) -> None:
        self.driver = driver
        self.limits = limits
        self.wish: Wish | None = None
        self.order: Order | None = None
        self._terms = terms
        self._asked_us = 0
        self._standing = Standing(limits.control)
        self._budget = WriteBudget(driver.unit, driver.spec.control.writes_per_day)
        self._notes = Notes(driver.spec.id, limits.control, terms)
        self._ended: set[tuple[int, int]] = set()

    @property
    def control(self) -> str:
        return self.limits.control

    def observe(self, values: Mapping[str, float | int]) -> None:
        """Take note of a poll. A setpoint found in force by the first one is adopted, or released after one lease."""
        terms, now_us = self._terms, self._terms.clock.now_us()
        if self._standing.observe(values, now_us) and terms.mode in ("limited", "full"):
            self._standing.adopt(now_us, terms.lease_s)
            shown = self._standing.shown
            left = "" if shown is None or shown.left_s is None else f", {shown.left_s:g} s left"
            self._notes.write(self._standing.value_w, "adopted", f"found in force at the start{left}", "")
        self._alarm("local", _LOCAL if self.driver.local else "")

    def blind(self) -> None:
        """The device did not answer: what it holds is not known any more."""
        self._standing.shown = None

    def ask(self, wish: Wish) -> None:
        """The newest wish replaces the one before; the order in force changes when it is settled."""
        if self.wish is None or wish.slot_us != self.wish.slot_us:
            self._ended = {key for key in self._ended if key[1] == wish.slot_us}
        elif self.order is not None and self.order.state is OrderState.EXPIRED:
            self.order = None
        self.wish, self._asked_us = wish, self._terms.clock.now_us()

    async def settle(self, link: ModbusLink, ready: bool) -> None:
        """Bring the device as far as it goes now; `ready` = it can be written to.

        Device faults end in a state of the order, not in an exception.
        """
        now_us = self._terms.clock.now_us()
        if self.wish is None:
            await self._without_wish(link, now_us)
            return
        over = self._over(now_us)
        if over:
            await self.release(link, over)
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
        if not self.in_force:
            return True
        try:
            await self.driver.release(link)
        except (ModbusFault, *_REFUSED) as error:
            self._notes.write(None, "release failed", f"{reason}; {error}", plan)
            # The device's own revert time ends it; until then each settle tries again.
            written_us = self._standing.written_us or 0
            if self._terms.clock.now_us() - written_us >= self._terms.lease_s * MICRO:
                self._freed()
            return False
        self._freed()
        self._notes.write(None, "released", reason, plan)
        return True

    def withdraw(self) -> None:
        """No wish any more; a write on its way is finished, the next settle or release does the rest."""
        self.wish = None

    def forget(self) -> None:
        """No wish any more; an open order ends as superseded. Never while the line is in use."""
        self.wish = None
        if self.order is not None and self.order.open:
            self._fire(self.order, Event.EXPIRE if self._overdue(self.order) else Event.REPLACE)
        self.order = None

    @property
    def in_force(self) -> bool:
        """True while the device may be under an order of ours."""
        return self._standing.written_us is not None

    async def _without_wish(self, link: ModbusLink, now_us: int) -> None:
        found_us = self._standing.found_us
        if not self.in_force or (found_us is not None and now_us - found_us < self._terms.lease_s * MICRO):
            return
        adopted = "adopted at the start, and no order came within one lease"
        await self.release(link, adopted if found_us else "the release before did not reach the device")

    def _over(self, now_us: int) -> str:
        """Why the wish holds no longer; empty while it does."""
        assert self.wish is not None
        if now_us >= self.wish.until_us:
            return "no order any more: the controller's time is over"
        silent_s = (now_us - self._asked_us) / MICRO
        return f"the controller is silent since {silent_s:.0f} s" if silent_s >= self._terms.silence_s else ""

    def _freed(self) -> None:
        self._standing.freed()
        self._terms.headroom.told(self.driver.spec.id, None)

    def _state(self, now_us: int) -> State:
        standing, terms = self._standing, self._terms
        low, high = terms.headroom.bounds(self.driver.spec.id, now_us)
        if self.control == "p_max_w":  # of a load, the limit is on what it takes
            low, high = (-math.inf, -low) if self.driver.spec.kind == "load" else (-math.inf, high)
        written_us = standing.written_us
        return State(
            standing.soc_pu(now_us, terms.lease_s),
            last_w=standing.value_w if written_us is not None or self.control == "p_max_w" else standing.p_w,
            elapsed_s=0.0 if written_us is None else (now_us - written_us) / MICRO,
            site_low_w=low,
            site_high_w=high,
        )

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
            self._standing.found_us = None
            self._fire(order, Event.HELD)
        elif ready:
            await self._write(order, link)

    async def _write(self, order: Order, link: ModbusLink) -> None:
        if forbidden := self._forbidden(link, refresh=False):
            self._fire(order, Event.REFUSE, forbidden)
            return
        self._fire(order, Event.WRITE)
        try:
            await self._put(order, link)
            self._fire(order, Event.ACK)
            await self._check(order, link)
        except _REFUSED as error:
            self._fire(order, Event.REFUSE, str(error))
        except ModbusFault as error:
            self.blind()
            self._fire(order, Event.LOSE, str(error))

    def _forbidden(self, link: ModbusLink, *, refresh: bool) -> str:
        """Why nothing may be written; empty if it may. Keeps the alarms that go with it."""
        spent = self._budget.spent(link.written, self._terms.clock.now_us(), refresh=refresh)
        unguarded = self._terms.unguarded()
        self._alarm("budget", spent)
        self._alarm("watchdog", unguarded)
        return (_LOCAL if self.driver.local else "") or spent or unguarded

    async def _put(self, order: Order, link: ModbusLink) -> None:
        now_us = self._terms.clock.now_us()
        self._standing.began(now_us)
        await self.driver.write_order(link, order.value, self._terms.lease_s)
        self._standing.wrote(now_us, order.value)
        if self.control == "p_set_w":
            self._terms.headroom.told(self.driver.spec.id, order.value)

    async def _check(self, order: Order, link: ModbusLink) -> None:
        for attempt in range(2):
            if attempt and not self._terms.lockstep:
                within_us = math.ceil(self.driver.within_s * MICRO)
                await self._terms.clock.sleep_until_us(self._terms.clock.now_us() + within_us)
            shown = self._standing.shown = await self.driver.read_back(link)
            order.readback = shown.value_w
            if self._holds(order) is Holds.OURS:
                self._fire(order, Event.MATCH)
                self._alarm("diverged", "")
                return
            self._fire(order, Event.MISMATCH, self._difference(order))
        self._alarm("diverged", self._difference(order))

    def _difference(self, order: Order) -> str:
        shown = self._standing.shown
        if shown is None or shown.value_w is None:
            return f"{order.value} W ordered, nothing read back"
        enabled = "" if shown.enabled else ", not enabled"
        return f"{order.value} W ordered, read back as {shown.value_w:g} W{enabled}"

    async def _refresh(self, order: Order, link: ModbusLink, now_us: int) -> None:
        if self._forbidden(link, refresh=True):
            return
        try:
            await self._put(order, link)
            self._standing.shown = await self.driver.read_back(link)
        except (ModbusFault, *_REFUSED) as error:
            # Verified stays verified; the next settle tries again and the device reverts by itself at worst.
            self.blind()
            self._notes.write(order.value, "refresh failed", str(error), order.plan)
            return
        self._notes.write(order.value, "refreshed", order.reason, order.plan, self._standing.shown.value_w)

    def _refresh_due(self, order: Order, now_us: int) -> bool:
        """Half of the lease is used up, or the device holds nothing any more of what was verified.

        Against another master's value it is written again with the lease only: two of them must not wear it out.
        """
        holds = self._holds(order) if order.state is OrderState.VERIFIED else Holds.OURS
        if order.state is OrderState.VERIFIED and holds is not Holds.UNKNOWN:
            foreign = f"{self._difference(order)}: another master writes, or the device limits itself"
            self._alarm("master", foreign if holds is Holds.FOREIGN else "")
        return not self._standing.young(now_us, self.driver.renewal_s(self._terms.lease_s)) or holds in (
            Holds.UNKNOWN,
            Holds.FELL_BACK,
        )

    def _holds(self, order: Order) -> Holds:
        return self._standing.holds(order.value, self.driver.tolerance_w)

    def _held(self, order: Order, now_us: int) -> bool:
        """Compare before write: the same watts were written, are still shown, and their lease is young."""
        ours = self._standing.value_w == order.value and self._holds(order) is Holds.OURS
        return ours and self._standing.young(now_us, self.driver.renewal_s(self._terms.lease_s))

    def _overdue(self, order: Order) -> bool:
        return self._terms.clock.now_us() - order.born_us >= self._terms.lease_s * MICRO

    def _alarm(self, kind: str, text: str) -> None:
        if self._notes.alarm(kind, text) and kind == "local" and not text:
            # What was refused while it was local may be ordered again.
            self.order = None if self.order is not None and not self.order.open else self.order

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
        self._notes.write(order.value, order.state.value, reason, order.plan, order.readback)
