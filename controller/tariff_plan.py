"""A plan that trades nothing: orders for devices, and every party at the tariff's prices."""

from __future__ import annotations

from collections.abc import Mapping

from controller.case import Case, FloatArray
from controller.plan import Certificate, Order, Plan, Stage, sealed


def tariff_plan(
    mechanism: str, case: Case, stage: Stage, orders: Mapping[str, tuple[Order, ...] | None], certificate: Certificate
) -> Plan:
    """Seal the orders of the case's slots; all parties but the grid buy and sell at the tariff."""
    parties = [party.id for party in case.parties if party.role != "grid"]
    buy, sell = _rounded(case.tariff.import_per_kwh), _rounded(case.tariff.export_per_kwh)
    return sealed(
        Plan(
            id="",
            mechanism=mechanism,
            stage=stage,
            start_us=case.start_us,
            slot_s=case.slot_s,
            orders=dict(orders),
            buy_per_kwh=dict.fromkeys(parties, buy),
            sell_per_kwh=dict.fromkeys(parties, sell),
            energy_wh={},
            payment_micro={},
            certificate=certificate,
        )
    )


def expectation(cost: float, solver: str, version: str = "", work: Mapping[str, int] | None = None) -> Certificate:
    """The certificate of a planner that expects a cost and bounds nothing; cost in currency per plan."""
    return Certificate(
        objective=round(cost, 9),
        bound=None,
        gap=None,
        residuals={},
        deviation_gain=None,
        optimal="heuristic",
        solver=solver,
        version=version,
        work=dict(work or {}),
    )


def _rounded(prices: FloatArray) -> tuple[float, ...]:
    return tuple(round(float(price), 6) for price in prices)
