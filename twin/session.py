"""Everything a service needs, opened in order and closed in reverse: store, recording, ledger, solver, gateway."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from controller.plan import Plan
from devices.description import BrokerSpec, LinkSpec
from devices.gateway import Gateway
from ledger import Books
from ledger.keys import KeyRing
from twin.cases import CaseBuilder
from twin.clock import AnyClock, WallClock
from twin.feed import Feed
from twin.forecasting import ForecastBook
from twin.history import History
from twin.network import limits_at
from twin.planner import Planner
from twin.recording import RecordingWriter
from twin.service import Service
from twin.settlement import Settlement
from twin.span import PAST_DAYS
from twin.store import Store
from twin.worker import Worker


class Session:
    """One service over one run folder; `async with Session(...) as session`, then `session.service.tick(t)`.

    Leaving it releases every setpoint and leaves a store and a ledger that open and verify, whatever went wrong.
    """

    def __init__(
        self,
        feed: Feed,
        folder: Path,
        clock: AnyClock,
        keys: KeyRing,
        links: Sequence[LinkSpec],
        broker: BrokerSpec | None,
        *,
        start_us: int,
    ) -> None:
        self._feed, self._folder, self._clock, self.keys = feed, folder, clock, keys
        self._links, self._broker, self._start_us = links, broker, start_us
        self._stack = AsyncExitStack()
        self.worker = Worker()
        self.plans: list[Plan] = []
        self.service: Service
        self.books: Books
        self.store: Store
        self.recorder: RecordingWriter
        self.gateway: Gateway

    async def __aenter__(self) -> Session:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            # What is loaded by now stays: searching it for garbage again would hold up a tick by a tenth of a second.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        site, lockstep = self._feed.site, self._clock.lockstep
        on_full = "wait" if lockstep else "drop"
        self.store = Store(self._folder / "telemetry.db", on_full=on_full)  # type: ignore[arg-type]
        self.store.start()
        stack.callback(self.store.close)
        self.recorder = RecordingWriter(self._folder / "recording" / "log.bin", site=site.id, on_full=on_full)  # type: ignore[arg-type]
        self.recorder.start()
        stack.callback(self.recorder.close)
        self.books = stack.enter_context(self._new_books())
        await stack.enter_async_context(self.worker)
        self.gateway = self._new_gateway()
        self.service = self._new_service()
        # Only now: what is due while the service is made, and looks back for its first forecast, would be lost.
        await stack.enter_async_context(self.gateway)
        for link in self._links:
            if link.reserve_port is not None and not lockstep:
                await stack.enter_async_context(self.gateway.reserver(link.id, link.reserve_port))
        stack.push_async_callback(self.gateway.release_all)
        stack.push_async_callback(self.service.planner.close)

    def _new_books(self) -> Books:
        site = self._feed.site
        facts = {"tick_s": site.time.tick_s, **dict(sorted(self._feed.inputs.items()))}
        genesis = {
            "currency": site.currency,
            "operator": site.operator.id,
            "grid": site.grid.id,
            "slot_s": site.time.slot_s,
            "facts": facts,
        }
        central = (site.operator.id, site.grid.id)
        return Books.create(
            self._folder / "ledger",
            site=site.id,
            keys=self.keys,
            now_us=self._clock.now_us,
            genesis=genesis,
            apart=[party.id for party in site.parties if party.id not in central],
        )

    def _new_gateway(self) -> Gateway:
        site = self._feed.site
        return Gateway(
            self._links,
            site.devices,
            self._clock,
            broker=self._broker,
            site_id=site.id,
            lease_s=site.time.lease_s,
            tick_s=site.time.tick_s,
            mode=site.control.mode,
            control_enabled=site.control.enabled,
            cap_w=site.control.cap_w,
            cap_ramp_w_s=site.control.ramp_w_s,
            silence_s=site.time.lease_s,
            grid_limits=limits_at(site),
            journal=lambda command: self.service.command(command),
            lockstep=self._clock.lockstep,
            announce=True,
            home_assistant=site.broker.home_assistant,
        )

    def _new_service(self) -> Service:
        site, feed = self._feed.site, self._feed
        history = History(site, feed if feed.dataset is not None else None, self._start_us, PAST_DAYS)
        settlement = Settlement(site, self.books, self.keys, feed)
        settlement.register()
        planner = Planner(
            site.mechanism.name,
            site.mechanism.budget,
            self.worker,
            lambda t_us, stage, day_ahead: cases.build(t_us, stage, day_ahead),
            delay_us=site.time.plan_delay_s * 1_000_000,
            accept=self._accept,
            report=lambda what, where: service.report(what, where),
        )
        service = Service(
            site,
            self.gateway,
            planner,
            settlement,
            self.store,
            self.recorder,
            history,
            start_us=self._start_us,
            lockstep=self._clock.lockstep,
            wall_us=WallClock().now_us,
        )
        self.forecasts = ForecastBook(self.store, lambda what, where: service.report(what, where))
        cases = CaseBuilder(
            site,
            history,
            feed.tariff,
            lambda: service.image,
            service.turbines,
            max_age_s=service.max_age_s,
            keep=self.forecasts.keep,
            ledger=lambda: service.ledger_facts,
        )
        cases.look_back()
        return service

    def _accept(self, plan: Plan, issued_us: int) -> None:
        self.plans.append(plan)
        self.store.write_plan(plan, issued_us, issued_us)
