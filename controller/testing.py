"""Conformance kit: what every market mechanism must keep, whoever wrote it.

    from controller.testing import check_mechanism
    check_mechanism(MyMechanism)

plans small cases of every awkward kind and raises AssertionError with all findings. `reference_cost` solves a player's
problem by cvxpy and Clarabel, for comparing prepared solvers with a model written down a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import msgspec
import numpy as np

from controller.case import Case, FlexibleLoad, FloatArray, Party, Pv, Storage, Tariff, Turbine
from controller.errors import ControllerError
from controller.mechanism import Mechanism
from controller.plan import Budget, Plan, Stage, sealed
from controller.stackelberg.player import CAP_PENALTY_FACTOR, Player, demand_kw, energy_limits_kwh, turbine_limits_kw

STAGES: tuple[Stage, ...] = ("day_ahead", "intraday")
PRICE_QUANTUM = 1e-6
SECOND_OPINION_TOLERANCE = 1e-4
"""Currency per plan by which two solvers may differ."""

SecondOpinion = Callable[[Case, Plan], float]
"""The certificate's objective of an intraday plan, computed anew by other means."""


def check_mechanism(
    make: Callable[[], Mechanism],
    cases: Mapping[str, Case] | None = None,
    *,
    budget: Budget | None = None,
    second_opinion: SecondOpinion | None = None,
    deviation_tolerance: float = 1e-4,
) -> None:
    """Plan every case in both stages and check what a plan must keep. Raises AssertionError listing every finding.

    make : builds a fresh mechanism (a class without arguments, usually)
    deviation_tolerance : currency per plan that one player may gain alone; None in a certificate is accepted
    """
    findings = []
    budget = budget or Budget()
    for name, case in (cases or kit_cases()).items():
        mechanism, day_ahead = make(), None
        for stage in STAGES:
            where = f"{name}, {stage}"
            shaped = case if stage == "day_ahead" else replace(case, day_ahead=day_ahead)
            try:
                plan = mechanism.plan(shaped, stage, budget)
            except ControllerError as error:
                findings.append(f"{where}: no plan: {error}")
                break
            findings += [f"{where}: {finding}" for finding in findings_of(shaped, plan, deviation_tolerance)]
            findings += [f"{where}: {finding}" for finding in _repeats(make, mechanism, shaped, stage, budget, plan)]
            if second_opinion is not None and stage == "intraday":
                other = second_opinion(shaped, plan)
                if abs(other - plan.certificate.objective) > SECOND_OPINION_TOLERANCE:
                    findings.append(f"{where}: objective {plan.certificate.objective}, second solver {other}")
            day_ahead = plan if stage == "day_ahead" else day_ahead
    assert not findings, "\n".join(findings)


def findings_of(case: Case, plan: Plan, deviation_tolerance: float = 1e-4) -> list[str]:
    """What one plan breaks; empty when all is well."""
    return [
        *_shape_findings(case, plan),
        *_price_findings(case, plan),
        *_money_findings(case, plan),
        *_order_findings(case, plan),
        *_certificate_findings(plan, deviation_tolerance),
    ]


def _repeats(
    make: Callable[[], Mechanism], mechanism: Mechanism, case: Case, stage: Stage, budget: Budget, plan: Plan
) -> Iterator[str]:
    if mechanism.plan(case, stage, budget).id != plan.id:
        yield "a second call of the same mechanism gives another plan"
    if make().plan(case, stage, budget).id != plan.id:
        yield "a fresh mechanism gives another plan"


def _shape_findings(case: Case, plan: Plan) -> Iterator[str]:
    if (plan.start_us, plan.slot_s, plan.slots) != (case.start_us, case.slot_s, case.slots):
        yield "start, slot length or number of slots differ from the case"
    if sealed(plan).id != plan.id:
        yield "id is not the hash of the content"
    if "NaN" in (text := json.dumps(msgspec.to_builtins(plan))) or "Infinity" in text:
        yield "a number is NaN or infinite"
    if missing := {asset.id for asset in case.assets} - set(plan.orders):
        yield f"no orders for {sorted(missing)}"


def _price_findings(case: Case, plan: Plan) -> Iterator[str]:
    low, high = case.tariff.export_per_kwh, case.tariff.import_per_kwh
    for party in case.parties:
        if party.role != "prosumer":
            continue
        buy, sell = np.asarray(plan.buy_per_kwh[party.id]), np.asarray(plan.sell_per_kwh[party.id])
        if np.any(sell < low - PRICE_QUANTUM) or np.any(buy > high + PRICE_QUANTUM) or np.any(sell > buy):
            yield f"{party.id}: prices leave export <= sell <= buy <= import"


def _money_findings(case: Case, plan: Plan) -> Iterator[str]:
    for what, rows in (("energies", plan.energy_wh), ("payments", plan.payment_micro)):
        total = np.sum([np.asarray(row, dtype=np.int64) for row in rows.values()], axis=0)
        if np.any(total):
            yield f"{what} do not sum to zero: {total.tolist()}"
    for party in case.parties:
        if party.role == "prosumer":
            given = np.asarray(plan.energy_wh[party.id])
            price = np.where(given >= 0, plan.sell_per_kwh[party.id], plan.buy_per_kwh[party.id])
            if np.any(np.abs(given * price * 1000 - np.asarray(plan.payment_micro[party.id])) > 1.0):
                yield f"{party.id}: payments are not energy times price"


def _order_findings(case: Case, plan: Plan) -> Iterator[str]:
    for asset in case.assets:
        orders = plan.orders.get(asset.id)
        if orders is None:
            continue
        if len(orders) != case.slots:
            yield f"{asset.id}: {len(orders)} orders for {case.slots} slots"
        p_w = np.array([order.p_ref_w for order in orders])
        if isinstance(asset, Storage) and (np.any(p_w > asset.p_discharge_w) or np.any(p_w < -asset.p_charge_w)):
            yield f"{asset.id}: reference power beyond its rating"
        if isinstance(asset, Turbine) and np.any(p_w > asset.p_max_w):
            yield f"{asset.id}: reference power beyond its rating"
        schedule = plan.schedule.get(asset.id)
        if isinstance(asset, Storage) and schedule is not None and schedule.soc_pu:
            yield from _soc_findings(case, asset, np.asarray(schedule.p_w), np.asarray(schedule.soc_pu))


def _soc_findings(case: Case, asset: Storage, p_w: FloatArray, soc_pu: FloatArray) -> Iterator[str]:
    stored_wh = np.maximum(-p_w, 0) * asset.eta_charge - np.maximum(p_w, 0) / asset.eta_discharge
    expected = asset.soc_pu + np.cumsum(stored_wh) * case.hours / asset.e_wh
    if np.max(np.abs(expected - soc_pu)) > case.slots * case.hours / asset.e_wh + 1e-4:  # powers are rounded to 1 W
        yield f"{asset.id}: state of charge does not follow from its powers"
    low, high = min(asset.soc_min_pu, asset.soc_pu), max(asset.soc_max_pu, asset.soc_pu)
    if np.any(soc_pu < low - 1e-4) or np.any(soc_pu > high + 1e-4):
        yield f"{asset.id}: state of charge leaves its limits"


def _certificate_findings(plan: Plan, deviation_tolerance: float) -> Iterator[str]:
    certificate = plan.certificate
    if (certificate.bound is None) != (certificate.gap is None):
        yield "bound and gap go together"
    if certificate.gap is not None and certificate.bound is not None:
        most = abs(certificate.bound - certificate.objective) / max(abs(certificate.objective), 0.01)
        if not -1e-12 <= certificate.gap <= most * (1 + 1e-6) + 1e-6:
            yield f"gap {certificate.gap} exceeds |bound - objective| / max(|objective|, 0.01) = {most}"
    if certificate.deviation_gain is not None and certificate.deviation_gain > deviation_tolerance:
        yield f"a player gains {certificate.deviation_gain} by deviating"


def kit_cases() -> dict[str, Case]:
    """Small cases: usual, nobody, one player, all surplus, negative prices, a grid cap."""
    usual = two_homes()
    nobody = replace(usual, parties=(Party("vpp", "operator"), Party("grid", "grid")), assets=(), load_w={}, tail=None)
    one = replace(
        usual,
        parties=tuple(p for p in usual.parties if p.id != "b"),
        assets=tuple(a for a in usual.assets if a.party == "a"),
        load_w={"a": usual.load_w["a"]},
        tail_net_w={"a": usual.tail_net_w["a"]},
    )
    sun = tuple(replace(a, available_w=np.full(8, 6000.0)) if isinstance(a, Pv) else a for a in usual.assets)
    negative = Tariff(usual.tariff.import_per_kwh.copy(), usual.tariff.export_per_kwh.copy())
    negative.export_per_kwh[2:5], negative.import_per_kwh[3:5] = -0.3, -0.2
    return {
        "usual": usual,
        "nobody": nobody,
        "one player": one,
        "all surplus": replace(usual, assets=sun, load_w={"a": np.full(8, 300.0), "b": np.full(8, 200.0)}),
        "negative price": replace(usual, tariff=negative),
        "grid cap": replace(usual, import_max_w=2000.0, export_max_w=1500.0),
    }


def two_homes() -> Case:
    """Two homes, a turbine of the operator, 8 slots of a quarter hour and as many after them."""
    slots = np.arange(8)
    load = {"a": 900.0 + 500 * np.sin(slots), "b": 2500.0 - 300 * np.cos(slots)}
    tariff = Tariff(np.where(slots < 4, 0.22, 0.54), np.full(8, 0.08))
    return Case(
        site="kit",
        start_us=1_700_000_100_000_000,
        slot_s=900,
        parties=(Party("vpp", "operator"), Party("a", "prosumer"), Party("b", "prosumer"), Party("grid", "grid")),
        assets=(
            Storage("bat-a", "a", 6400, 5000, 5000, 0.95, 0.95, 0.6, 0.05, 1.0, 0.01, 0.01),
            Pv("pv-a", "a", np.maximum(3200.0 - 500 * slots, 0.0)),
            Storage("bat-b", "b", 3000, 2000, 2500, 0.93, 0.96, 0.3, 0.0, 1.0, 0.01, 0.02),
            FlexibleLoad("flex-b", "b", np.full(8, 600.0), 0.5, 0.45),
            Turbine("turbine", "vpp", 500, 3000, 12_000, 2e-3, 0.30, 0.1, 0.05, 0.02, 1800, 900),
        ),
        load_w=load,
        tariff=tariff,
        tail=Tariff(np.where(slots < 6, 0.50, 0.24), np.full(8, 0.08)),
        tail_net_w={"a": np.full(8, 1200.0), "b": np.full(8, 1500.0)},
    )


def reference_cost(player: Player) -> tuple[float, FloatArray]:
    """A player's lowest cost and its net need, kW per step, by cvxpy and Clarabel from the written-down model."""
    import cvxpy as cp

    n, h = player.steps, player.hours
    buy, sell = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
    cost = [h @ cp.multiply(player.buy_per_kwh, buy) - h @ cp.multiply(player.sell_per_kwh, sell)]
    rules: list[object] = []
    supply = buy - sell
    for asset in player.assets:
        power, own, more = _reference_asset(player, asset)
        supply, cost, rules = supply + power, [*cost, own], rules + more
    rules.append(supply == demand_kw(player))
    dearest = max(float(np.max(np.abs(player.buy_per_kwh))), 0.01)
    for columns, cap in ((buy, player.import_cap_kw), (sell, player.export_cap_kw)):
        if np.isfinite(cap):
            cost.append(CAP_PENALTY_FACTOR * dearest * (h @ cp.pos(columns - cap)))
    problem = cp.Problem(cp.Minimize(sum(cost)), rules)
    problem.solve(solver=cp.CLARABEL)
    return float(problem.value), np.asarray(buy.value - sell.value)


def _reference_asset(
    player: Player, asset: Storage | Turbine | FlexibleLoad | Pv
) -> tuple[object, object, list[object]]:
    import cvxpy as cp

    n, h = player.steps, player.hours
    adjustment = player.adjustments.get(asset.id)
    gamma = 0.0 if adjustment is None else adjustment.gamma_per_kw2h
    plan = np.zeros(n) if adjustment is None else adjustment.p_plan_kw
    if isinstance(asset, Storage):
        return _reference_storage(player, asset, gamma, plan)
    power = cp.Variable(n, nonneg=True)
    if isinstance(asset, Pv):
        return power, 0.0, [power <= asset.available_w / 1000]
    if isinstance(asset, FlexibleLoad):
        comfort = h @ (asset.beta_per_kwh * power + asset.beta2_per_kw2h * cp.square(power))
        return power, comfort, [power <= asset.curtail_max_pu * asset.demand_w / 1000]
    commitment = player.commitments[asset.id]
    on, before = commitment.on, np.append(float(commitment.on_before), commitment.on[:-1])
    lowest, ramp, jump = turbine_limits_kw(asset, h)
    step = power - cp.hstack([commitment.p_before_kw, power[:-1]])
    starts, stops = np.maximum(on - before, 0), np.maximum(before - on, 0)
    fuel = h @ (asset.cost_a_per_kw2h * cp.square(power) + asset.cost_b_per_kwh * power + asset.cost_c_per_h * on)
    fuel += asset.start_cost * starts.sum() + asset.stop_cost * stops.sum() + gamma * (h @ cp.square(power - plan))
    limits = [power >= lowest * on, power <= asset.p_max_w / 1000 * on]
    return power, fuel, [*limits, step <= ramp * before + jump * starts, step >= -ramp * on - jump * stops]


def _reference_storage(
    player: Player, asset: Storage, gamma: float, plan: FloatArray
) -> tuple[object, object, list[object]]:
    import cvxpy as cp

    n, h = player.steps, player.hours
    charge, discharge = cp.Variable(n, nonneg=True), cp.Variable(n, nonneg=True)
    start, (floor, ceiling) = asset.soc_pu * asset.e_wh / 1000, energy_limits_kwh(asset)
    energy = start + cp.cumsum(
        cp.multiply(h * asset.eta_charge, charge) - cp.multiply(h / asset.eta_discharge, discharge)
    )
    late = player.late_per_kwh * (1 - np.cumsum(h) / h.sum())
    wear = h @ (cp.multiply(asset.wear_charge_per_kwh + late, charge) + asset.wear_discharge_per_kwh * discharge)
    wear += gamma * (h @ cp.square(discharge - charge - plan))
    direction = player.directions.get(asset.id, np.zeros(n))
    rules = [
        charge <= np.where(direction > 0, 0.0, asset.p_charge_w / 1000),
        discharge <= np.where(direction < 0, 0.0, asset.p_discharge_w / 1000),
        energy >= floor,
        energy <= ceiling,
    ]
    terminal = player.terminals.get(asset.id)
    if terminal is None:
        return discharge - charge, wear, [*rules, energy[n - 1] == start]
    kept = cp.Variable(len(terminal.widths_kwh), nonneg=True)
    wear -= terminal.values_per_kwh @ kept - float(terminal.values_per_kwh @ terminal.widths_kwh)
    return discharge - charge, wear, [*rules, kept <= terminal.widths_kwh, cp.sum(kept) == energy[n - 1] - floor]
