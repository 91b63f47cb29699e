"""The service: what happens at every tick, on whatever clock, against whatever devices."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from devices.gateway import Command, Gateway
from devices.readings import ProcessImage, Reading
from twin.assets import TurbineRuns
from twin.clock import iso
from twin.dispatch import Dispatcher
from twin.following import Following
from twin.history import History
from twin.planner import Planner
from twin.recording import CommandFrame, ReadingFrame, RecordingWriter
from twin.settlement import Settlement
from twin.silence import Silences
from twin.site.schema import Site
from twin.slots import Slots
from twin.span import Gate
from twin.store import CommandRow, EventRow, Store

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What went past, for summary.json."""

    received: int = 0
    skipped: int = 0
    """Ticks that came too late and were left out (never in lockstep)."""
    tick_s: list[float] = field(default_factory=list)
    """Wall seconds of each tick without waiting for a solve."""


class Service:
    """Readings in, image frozen, plans refreshed, setpoints out, slots settled; nothing here knows the clock's kind."""

    def __init__(
        self,
        site: Site,
        gateway: Gateway,
        planner: Planner,
        settlement: Settlement,
        store: Store,
        recorder: RecordingWriter,
        history: History,
        *,
        start_us: int,
        lockstep: bool,
        wall_us: Callable[[], int],
    ) -> None:
        """`wall_us` stamps receive times in the recording; they enter nothing else."""
        self.site, self.gateway, self.planner, self.settlement = site, gateway, planner, settlement
        self.store, self.recorder, self.history = store, recorder, history
        self._start_us, self._lockstep, self._wall_us = start_us, lockstep, wall_us
        self._slots = Slots(site.time.slot_s * 1_000_000, site.time.tick_s * 1_000_000, lockstep)
        self._gate = Gate.of(site)
        self.max_age_s = max(3.0 * site.time.tick_s, 5.0)
        self._dispatcher = Dispatcher(site, max_age_s=self.max_age_s)
        self.turbines = TurbineRuns(tuple(spec.id for spec in site.devices if spec.kind == "turbine"))
        limited = frozenset(spec.id for spec in site.devices if spec.kind in ("pv", "load"))
        self.following = Following(limited, self.max_age_s)
        self._kinds: Mapping[str, str] = {spec.id: spec.kind for spec in site.devices}
        self._silences = Silences(self._kinds, start_us, self.max_age_s)
        self._wireless = [spec.id for spec in site.devices if spec.mqtt]
        self.image = ProcessImage(start_us)
        self.ledger_facts = settlement.facts()
        """What plans may know of the ledger, taken before a slot is settled beside them: no thread shows its speed."""
        self.counts = Counts()

    async def tick(self, t_us: int, expected: Mapping[str, int] | None = None) -> None:
        """One tick; `expected` are the MQTT sequence numbers that the plant handed to the broker (lockstep)."""
        began = time.perf_counter()
        await self._take_in(t_us, expected or {})
        planning_s = 0.0
        begun = self._slots.begin(t_us)
        if begun:
            self.ledger_facts = self.settlement.facts()
        closing = asyncio.create_task(self._close_slots(t_us))
        try:
            if begun:
                planning_s = await self._plan(begun)
        finally:
            await closing
        announcing = asyncio.create_task(self._announce(t_us, begun))
        try:
            await self._steer(t_us)
        finally:
            await announcing
        self.counts.tick_s.append(time.perf_counter() - began - planning_s)

    async def finish(self, t_us: int) -> None:
        """The last tick: take in what there is, settle the last slot, release every setpoint."""
        while (slot_us := self._slots.close_last(t_us)) is not None:
            await self._close_slot(slot_us)
        await self.gateway.release_all()
        self.store.flush()
        self.settlement.finish()

    def command(self, command: Command) -> None:
        """Journal one transition of a setpoint (handed to the gateway)."""
        row = CommandRow(
            command.ts_us,
            command.device,
            command.control,
            command.value,
            command.state,
            command.reason,
            command.plan,
            command.readback,
        )
        self.store.write_commands([row])
        self.recorder.write(
            [
                CommandFrame(
                    self._wall_us(),
                    row.device,
                    row.ts_us,
                    row.control,
                    row.value,
                    row.state,
                    row.reason,
                    row.plan,
                    row.readback,
                )
            ]
        )

    def report(self, what: str, where: str, level: str = "warning") -> None:
        """Keep an event worth knowing."""
        self.store.write_event(EventRow(self.image.ts_us, level, what, where))  # type: ignore[arg-type]

    async def take_last(self, t_us: int, expected: Mapping[str, int]) -> None:
        """Readings of the run's end, which close its last slot."""
        await self._take_in(t_us, expected)

    async def _take_in(self, t_us: int, expected: Mapping[str, int]) -> None:
        readings = await self.gateway.gather_mqtt({device: expected.get(device) for device in self._wireless})
        readings += await self.gateway.poll()
        self.image = self.gateway.freeze()
        self._keep(readings)
        for level, device, what in self._silences.look(self.image):
            log.warning("%s: %s: %s", iso(t_us), device, what)
            self.report(what, device, level)
        self.turbines.observe(self.image, self.max_age_s)
        self.following.look(self.image)
        if t_us > self._start_us:
            self.history.observe(self.image, self.max_age_s)

    def _keep(self, arrived: list[Reading]) -> None:
        self.counts.received += len(arrived)
        readings = self.settlement.in_time(arrived)
        if len(readings) < len(arrived):
            self.report(f"{len(arrived) - len(readings)} readings too old for any settlement, not stored", "metering")
        nonces = self.settlement.collect(readings)
        self.store.write_readings(
            [(reading, self._kinds[reading.device], nonce) for reading, nonce in zip(readings, nonces, strict=True)]
        )
        received_us = self._wall_us()
        self.recorder.write(
            [ReadingFrame.of(reading, self._kinds[reading.device], received_us) for reading in readings]
        )

    async def _plan(self, begun: int) -> float:
        """A slot has begun: end its predecessors in the history and plan what comes; returns seconds spent planning."""
        slot_us = self._slots.current_us
        assert slot_us is not None, "a slot has begun"
        if self.history.end_us < slot_us:
            for _ in range(begun):
                self.history.close_slot()
        began = time.perf_counter()
        gate = self._gate.is_gate(slot_us)
        if self._lockstep:
            await self.planner.refresh(slot_us, gate=gate)
        else:
            self.planner.refresh_soon(slot_us, gate=gate)
        return time.perf_counter() - began

    async def _announce(self, t_us: int, begun: int) -> None:
        if (slot_us := self._slots.announce(t_us, begun)) is not None:
            await asyncio.to_thread(self.settlement.announce, slot_us, self.planner.plan_at(slot_us))

    async def _close_slots(self, t_us: int) -> None:
        while (slot_us := self._slots.close(t_us)) is not None:
            await self._close_slot(slot_us)

    async def _close_slot(self, start_us: int) -> None:
        # In a thread, as prices are: the ledger waits for the disk, meanwhile the solver works and devices are heard.
        for finding in await asyncio.to_thread(self._settled, start_us):
            log.warning("%s: %s", iso(start_us), finding)
            self.report(finding, f"slot {iso(start_us)}")

    def _settled(self, start_us: int) -> list[str]:
        """Close a slot whose readings are in the store: the ledger must not vouch for what a killed process would lose.

        On the wall a slot is settled ticks after its end, and the store commits within half a second.
        """
        if self._lockstep:
            self.store.flush()
        return self.settlement.close(start_us)

    async def _steer(self, t_us: int) -> None:
        if not self.site.control.enabled:
            return
        setpoints = self._dispatcher.setpoints(self.image, self.planner.plan_at(t_us), t_us)
        self.following.note(setpoints)
        for setpoint in setpoints:
            self.gateway.order(
                setpoint.device,
                setpoint.value_w,
                until_us=setpoint.until_us,
                reason=setpoint.reason,
                plan=setpoint.plan,
            )
        if self._lockstep:
            await self.gateway.settle()
