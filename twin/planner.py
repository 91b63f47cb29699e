"""The plans in force: asks the solver process for new ones, keeps the last valid one when that fails or is late."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from controller.case import Case
from controller.errors import ControllerError
from controller.plan import Budget, Plan, Stage
from twin.clock import iso
from twin.worker import SolveFailed, SolveHung

log = logging.getLogger(__name__)
DEAREST_PER_KWH = 1e6
"""No price on earth; a larger one, or none at all, is a mechanism's fault and would not fit into the ledger."""


class Solver(Protocol):
    """What the planner needs of the worker."""

    async def solve(self, name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan: ...


@dataclass(slots=True)
class PlanCounts:
    """Figures of summary.json `plans`."""

    day_ahead: int = 0
    intraday: int = 0
    """Every slot counts, whether its window was solved or the last plan was kept."""
    kept: int = 0
    gaps: list[float] = field(default_factory=list)
    deviation_gains: list[float] = field(default_factory=list)
    solve_s: list[float] = field(default_factory=list)


class Planner:
    """Holds the newest valid day-ahead and intraday plan; a failed solve is reported and leaves them as they are."""

    def __init__(
        self,
        mechanism: str,
        budget: Budget,
        solver: Solver,
        build_case: Callable[[int, Stage, Plan | None], Case],
        *,
        delay_us: int,
        accept: Callable[[Plan, int], None],
        report: Callable[[str, str], None],
    ) -> None:
        """`build_case(t_us, stage, day_ahead)`; `accept(plan, issued_us)` stores; `report(what, where)` a fault."""
        self._mechanism, self._budget, self._solver, self._build_case = mechanism, budget, solver, build_case
        self._delay_us, self._accept, self._report = delay_us, accept, report
        self._in_force: list[tuple[int, Plan]] = []
        self._warm: dict[Stage, Plan] = {}
        self._task: asyncio.Task[None] | None = None
        self.counts = PlanCounts()

    @property
    def day_ahead(self) -> Plan | None:
        """The newest day-ahead plan."""
        return self._warm.get("day_ahead")

    async def refresh(self, t_us: int, *, gate: bool) -> None:
        """Solve what falls due at `t_us` and wait for it (lockstep); a day ahead that was missed or failed is due.

        Raises SolveHung: whether a solve is slow or hung must not decide what is planned.
        """
        for stage in self._due(t_us, gate):
            await self._solve(t_us, stage)

    def refresh_soon(self, t_us: int, *, gate: bool) -> None:
        """Start solving and return at once (wall clock); while a solve is still running the last plan is kept."""
        if self._task is not None and not self._task.done():
            self.counts.intraday += 1
            self._keep("intraday", t_us, "the solve before is still running")
            return
        self._task = asyncio.create_task(self._refresh_beside(t_us, gate))

    async def _refresh_beside(self, t_us: int, gate: bool) -> None:
        for stage in self._due(t_us, gate):
            try:
                await self._solve(t_us, stage)
            except SolveHung as error:
                self._keep(stage, t_us, str(error))

    def _due(self, t_us: int, gate: bool) -> tuple[Stage, ...]:
        if gate or self.day_ahead is None or _end_us(self.day_ahead) <= t_us:
            return ("day_ahead", "intraday")
        return ("intraday",)

    async def close(self) -> None:
        """Abandon a running solve."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def plan_at(self, t_us: int) -> Plan | None:
        """The newest plan that is in effect and covers `t_us`; None if there is none."""
        for effective_us, plan in reversed(self._in_force):
            if effective_us <= t_us < _end_us(plan):
                return plan
        return None

    async def _solve(self, t_us: int, stage: Stage) -> None:
        if stage == "intraday":
            self.counts.intraday += 1
        else:
            self.counts.day_ahead += 1
        try:
            case = self._build_case(t_us + self._delay_us, stage, self.day_ahead)
            plan = await self._solver.solve(self._mechanism, case, stage, self._budget, self._warm.get(stage))
            _check(plan, case)
        except SolveHung:
            raise
        except (SolveFailed, ControllerError) as error:
            self._keep(stage, t_us, str(error))
            return
        self._warm[stage] = plan
        standing = [pair for pair in self._in_force if _end_us(pair[1]) > t_us]
        self._in_force = [*standing, (t_us + self._delay_us, plan)]
        self._count(plan)
        self._accept(plan, t_us)

    def _count(self, plan: Plan) -> None:
        certificate = plan.certificate
        if certificate.solve_s is not None:
            self.counts.solve_s.append(certificate.solve_s)
        if plan.stage == "intraday" and certificate.gap is not None:
            self.counts.gaps.append(certificate.gap)
        if certificate.deviation_gain is not None:
            self.counts.deviation_gains.append(certificate.deviation_gain)

    def _keep(self, stage: Stage, t_us: int, why: str) -> None:
        if stage == "intraday":
            self.counts.kept += 1
        log.warning("%s plan of %s failed, the last valid plan is kept: %s", stage, iso(t_us), why)
        self._report(f"last valid plan kept: {why}", f"{stage} {iso(t_us)}")


def _end_us(plan: Plan) -> int:
    return plan.start_us + plan.slots * plan.slot_s * 1_000_000


def _check(plan: Plan, case: Case) -> None:
    """Refuse a plan that could not be followed, announced or settled (a plugged-in mechanism's fault)."""
    try:
        # Building a struct checks no types; reading one does.
        msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=Plan)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise SolveFailed(f"not a sound plan: {error}", where=plan.mechanism) from error
    wrong = _wrong_cover(plan, case) or _wrong_prices(plan, case) or _wrong_orders(plan, case)
    if wrong:
        raise SolveFailed(wrong, where=plan.mechanism)


def _wrong_cover(plan: Plan, case: Case) -> str:
    covers = plan.start_us == case.start_us and plan.slot_s == case.slot_s and plan.slots == case.slots
    return "" if covers else "the plan does not cover its case"


def _wrong_prices(plan: Plan, case: Case) -> str:
    for prices in (plan.buy_per_kwh, plan.sell_per_kwh):
        missing = sorted({party.id for party in case.parties if party.role == "prosumer"} - prices.keys())
        if missing:
            return f"no price for {', '.join(missing)}"
        for row in prices.values():
            if len(row) != case.slots or not all(abs(price) < DEAREST_PER_KWH for price in row):
                return "a price row is short or not finite"
    return ""


def _wrong_orders(plan: Plan, case: Case) -> str:
    for row in plan.orders.values():
        if row is not None and len(row) != case.slots:
            return "an order row is short"
        if row is not None and not all(math.isfinite(order.value_per_kwh or 0.0) for order in row):
            return "an order whose value is not finite"
    return ""
