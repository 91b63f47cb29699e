"""The plan in force: the newest valid one; a solve that fails, is late or returns nonsense never replaces it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import msgspec
import pytest

from controller.case import Case
from controller.errors import ControllerError
from controller.mechanism import load
from controller.plan import Budget, Plan, Stage
from twin.cases import CaseBuilder
from twin.exits import FAULT, status
from twin.planner import Planner
from twin.worker import SolveFailed, SolveHung, Worker

SLOT_US = 900_000_000
Change = Callable[[Plan], Plan]


class InProcess:
    """The shipped mechanism without a process around it; `fail` and `change` spoil what it returns."""

    def __init__(self) -> None:
        self.mechanism = load("twostage")
        self.fail: type[SolveFailed] | None = None
        self.change: Change = lambda plan: plan
        self.gate = asyncio.Event()
        self.gate.set()

    async def solve(self, name: str, case: Case, stage: Stage, budget: Budget, warm: Plan | None) -> Plan:
        await self.gate.wait()
        if self.fail:
            raise self.fail("no solution", where="solver process")
        return self.change(self.mechanism.plan(case, stage, budget, warm))


class Desk:
    """A planner over the two measured homes, and everything it accepted and reported."""

    def __init__(
        self, cases: CaseBuilder, solver: InProcess | Worker, name: str = "twostage", delay_us: int = 0
    ) -> None:
        self.accepted: list[tuple[str, int]] = []
        self.reports: list[tuple[str, str]] = []
        self.planner = Planner(
            name,
            Budget(rounds=1),
            solver,
            cases.build,
            delay_us=delay_us,
            accept=lambda plan, issued_us: self.accepted.append((plan.id, issued_us)),
            report=lambda what, where: self.reports.append((what, where)),
        )


@pytest.fixture
def solver() -> InProcess:
    return InProcess()


@pytest.fixture
def desk(build_cases: Callable[..., CaseBuilder], solver: InProcess, t0_us: int) -> Desk:
    return Desk(build_cases(t0_us), solver)


async def test_the_first_refresh_makes_both_plans_and_the_newest_one_counts(desk: Desk, t0_us: int) -> None:
    planner = desk.planner
    assert planner.plan_at(t0_us) is None
    await planner.refresh(t0_us, gate=False)
    now, late = planner.plan_at(t0_us), planner.plan_at(t0_us + 16 * SLOT_US)
    assert now is not None
    assert (now.stage, now.slots) == ("intraday", 16)
    assert late is planner.day_ahead is not None
    assert (late.stage, late.slots) == ("day_ahead", 36)
    assert planner.plan_at(t0_us + 36 * SLOT_US) is None, "no plan reaches beyond midnight"
    assert [(late.id, t0_us), (now.id, t0_us)] == desk.accepted
    assert (planner.counts.day_ahead, planner.counts.intraday, planner.counts.kept) == (1, 1, 0)
    assert planner.counts.gaps == [now.certificate.gap]


async def test_a_failed_solve_keeps_the_last_valid_plan_counts_it_and_says_so(
    desk: Desk, solver: InProcess, t0_us: int, caplog: pytest.LogCaptureFixture
) -> None:
    planner = desk.planner
    await planner.refresh(t0_us, gate=True)
    before = planner.plan_at(t0_us)
    solver.fail = SolveFailed
    await planner.refresh(t0_us + SLOT_US, gate=False)
    assert planner.plan_at(t0_us + SLOT_US) is before
    assert (planner.counts.intraday, planner.counts.kept) == (2, 1)
    assert len(desk.accepted) == 2
    what, where = desk.reports[0]
    assert "last valid plan kept" in what
    assert "no solution" in what
    assert where == "intraday 2016-09-05T22:15:00Z"
    assert "the last valid plan is kept" in caplog.text
    solver.fail = None
    await planner.refresh(t0_us + 2 * SLOT_US, gate=False)
    after = planner.plan_at(t0_us + 2 * SLOT_US)
    assert after is not None
    assert after.start_us == t0_us + 2 * SLOT_US
    assert (planner.counts.intraday, planner.counts.kept) == (3, 1)


async def test_a_solver_that_is_down_for_hours_leaves_the_day_ahead_plan_in_force(
    desk: Desk, solver: InProcess, t0_us: int
) -> None:
    planner = desk.planner
    for slot in range(10):
        await planner.refresh(t0_us + slot * SLOT_US, gate=slot == 0)
    solver.fail = SolveFailed
    for slot in range(10, 30):
        await planner.refresh(t0_us + slot * SLOT_US, gate=False)
    assert planner.plan_at(t0_us + 10 * SLOT_US) is not planner.day_ahead, "the last window reaches this far"
    assert planner.plan_at(t0_us + 29 * SLOT_US) is planner.day_ahead
    assert planner.counts.kept == 20


async def test_a_gate_that_was_missed_is_made_up_for_at_the_next_slot(
    desk: Desk, solver: InProcess, t0_us: int
) -> None:
    planner, midnight_us = desk.planner, t0_us + 36 * SLOT_US
    await planner.refresh(t0_us, gate=True)
    solver.fail = SolveFailed
    await planner.refresh(midnight_us, gate=True)
    assert planner.plan_at(midnight_us) is None
    solver.fail = None
    await planner.refresh(midnight_us + SLOT_US, gate=False)
    assert planner.counts.day_ahead == 3
    assert planner.day_ahead is not None
    assert (planner.day_ahead.start_us, planner.day_ahead.slots) == (midnight_us + SLOT_US, 95)


async def test_a_case_that_cannot_be_built_keeps_the_last_plan_too(desk: Desk, t0_us: int) -> None:
    def build(t_us: int, stage: Stage, day_ahead: Plan | None) -> Case:
        raise ControllerError("no known value before the issue", where="forecast")

    planner = desk.planner
    await planner.refresh(t0_us, gate=True)
    planner._build_case = build
    await planner.refresh(t0_us + SLOT_US, gate=True)
    assert planner.counts.kept == 1
    assert [where.split()[0] for _, where in desk.reports] == ["day_ahead", "intraday"]
    assert planner.plan_at(t0_us + SLOT_US) is not None


def nan_price(plan: Plan) -> Plan:
    party, row = next(iter(plan.buy_per_kwh.items()))
    return msgspec.structs.replace(plan, buy_per_kwh={**plan.buy_per_kwh, party: (math.nan, *row[1:])})


def short_price(plan: Plan) -> Plan:
    party, row = next(iter(plan.sell_per_kwh.items()))
    return msgspec.structs.replace(plan, sell_per_kwh={**plan.sell_per_kwh, party: row[:-1]})


def absurd_price(plan: Plan) -> Plan:
    party, row = next(iter(plan.buy_per_kwh.items()))
    return msgspec.structs.replace(plan, buy_per_kwh={**plan.buy_per_kwh, party: (1e12, *row[1:])})


def a_party_without_price(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, sell_per_kwh={"home-2": plan.sell_per_kwh["home-2"]})


def spoiled_order(**fields: object) -> Change:
    def spoil(plan: Plan) -> Plan:
        row = plan.orders["bat-1"]
        assert row is not None
        return msgspec.structs.replace(
            plan, orders={**plan.orders, "bat-1": (msgspec.structs.replace(row[0], **fields), *row[1:])}
        )

    return spoil


def prices_that_are_none(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, buy_per_kwh=None)


def short_orders(plan: Plan) -> Plan:
    row = plan.orders["bat-1"]
    assert row is not None
    return msgspec.structs.replace(plan, orders={**plan.orders, "bat-1": row[:-1]})


def another_time(plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, start_us=plan.start_us + SLOT_US)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (nan_price, "a price row is short or not finite"),
        (short_price, "a price row is short or not finite"),
        (short_orders, "an order row is short"),
        (absurd_price, "a price row is short or not finite"),
        (a_party_without_price, "no price for home-1"),
        (spoiled_order(p_ref_w=math.nan), "not a sound plan: Expected `int`, got `float` - at `$.orders"),
        (spoiled_order(kind="explode"), "not a sound plan: Invalid enum value 'explode'"),
        (spoiled_order(value_per_kwh=math.inf), "an order whose value is not finite"),
        (prices_that_are_none, "not a sound plan: Expected `object`, got `None` - at `$.buy_per_kwh`"),
        (another_time, "the plan does not cover its case"),
    ],
)
async def test_a_plan_that_is_not_whole_is_refused(
    desk: Desk, solver: InProcess, t0_us: int, spoil: Change, why: str
) -> None:
    await desk.planner.refresh(t0_us, gate=True)
    before = desk.planner.plan_at(t0_us)
    solver.change = spoil
    await desk.planner.refresh(t0_us + SLOT_US, gate=False)
    assert desk.planner.plan_at(t0_us + SLOT_US) is before
    assert desk.planner.counts.kept == 1
    assert why in desk.reports[0][0]


async def test_on_the_wall_clock_nothing_waits_for_a_solve(desk: Desk, solver: InProcess, t0_us: int) -> None:
    planner = desk.planner
    solver.gate.clear()
    planner.refresh_soon(t0_us, gate=True)
    await asyncio.sleep(0)
    assert planner.plan_at(t0_us) is None, "still solving, and nobody waited"
    planner.refresh_soon(t0_us + SLOT_US, gate=False)
    assert (planner.counts.intraday, planner.counts.kept) == (1, 1)
    assert "still running" in desk.reports[0][0]
    solver.gate.set()
    assert planner._task is not None
    await asyncio.wait_for(planner._task, 20)
    assert planner.plan_at(t0_us + SLOT_US) is not None
    assert (planner.counts.intraday, planner.counts.kept) == (2, 1)
    await planner.close()


async def test_closing_abandons_a_running_solve(desk: Desk, solver: InProcess, t0_us: int) -> None:
    solver.gate.clear()
    desk.planner.refresh_soon(t0_us, gate=True)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await desk.planner.close()
    assert desk.accepted == []


async def test_a_plan_takes_effect_after_the_sites_delay(
    build_cases: Callable[..., CaseBuilder], solver: InProcess, t0_us: int
) -> None:
    desk = Desk(build_cases(t0_us), solver, delay_us=SLOT_US)
    await desk.planner.refresh(t0_us, gate=True)
    assert desk.planner.plan_at(t0_us) is None
    plan = desk.planner.plan_at(t0_us + SLOT_US)
    assert plan is not None
    assert plan.start_us == t0_us + SLOT_US
    assert desk.accepted[0][1] == t0_us, "issued when asked for"


async def test_with_the_real_worker_a_missing_mechanism_is_a_kept_plan_that_names_it(
    build_cases: Callable[..., CaseBuilder], t0_us: int
) -> None:
    async with Worker() as worker:
        desk = Desk(build_cases(t0_us), worker, "no-such-mechanism")
        await desk.planner.refresh(t0_us, gate=True)
    assert desk.planner.plan_at(t0_us) is None
    assert (desk.planner.counts.day_ahead, desk.planner.counts.kept) == (1, 1)
    assert "no mechanism 'no-such-mechanism'" in desk.reports[0][0]


async def test_a_hung_solve_ends_a_run_in_lockstep_and_keeps_the_plan_on_the_wall(
    desk: Desk, solver: InProcess, t0_us: int
) -> None:
    await desk.planner.refresh(t0_us, gate=False)
    before = desk.planner.plan_at(t0_us)
    solver.fail = SolveHung
    with pytest.raises(SolveHung) as caught:
        await desk.planner.refresh(t0_us + SLOT_US, gate=False)
    assert status(caught.value) == FAULT
    assert desk.planner.counts.kept == 0
    desk.planner.refresh_soon(t0_us + 2 * SLOT_US, gate=True)
    assert desk.planner._task is not None
    await desk.planner._task
    assert desk.planner.counts.kept == 1
    assert [where.partition(" ")[0] for _, where in desk.reports] == ["day_ahead", "intraday"]
    assert desk.planner.plan_at(t0_us) is before
