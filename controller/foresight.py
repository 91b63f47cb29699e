"""The cheapest operation of a site's devices as one linear program: perfect foresight when the data are realised.

15-minute steps, network and game ignored. Commitment is relaxed (share of a slot a turbine is on), ramps and minimum
times are dropped, storages may charge and discharge in turn within a slot, and convex costs are replaced by tangents
from below: every way of operating the same devices costs at least the optimum, so it is a bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np

from controller.case import FlexibleLoad, FloatArray, Storage, Tariff, Turbine
from controller.costs import end_price
from controller.errors import ControllerError
from controller.lp import LpSolution, solve_lp
from controller.qp import IntArray, Model, Program, Term

TANGENTS = 17
"""Per square: the error of a turbine's fuel is below a * P_max^2 / (4 * 16^2), 0.1 % of its quadratic part."""

End = Literal["valued", "equal"]
"""`valued`: the final state of charge is free and valued as controller.costs does, so the optimum is a bound for every
run; `equal`: it equals the first (a bound only for runs that end as they began)."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is operated, and under what. Arrays (slots,)."""

    net_w: FloatArray
    """Demand (nothing curtailed) - available PV of the whole site, W."""
    tariff: Tariff
    slot_s: int
    storages: tuple[Storage, ...] = ()
    turbines: tuple[Turbine, ...] = ()
    flexible: tuple[FlexibleLoad, ...] = ()
    pv_w: FloatArray | None = None
    """Available PV: may be curtailed where a price is negative. None: never."""
    import_max_w: float = float("inf")
    export_max_w: float = float("inf")
    import_excess_per_kwh: float | None = None
    """None: import_max_w is hard. Else what a kWh above it costs on top of the tariff."""

    @property
    def slots(self) -> int:
        """Number of slots."""
        return int(self.net_w.shape[0])

    @property
    def hours(self) -> float:
        """Length of a slot, h."""
        return self.slot_s / 3600


@dataclass(frozen=True, slots=True)
class Foresight:
    """The optimum and how it is reached; energies in Wh on the bus side, (slots,) or (devices, slots)."""

    bound: float
    """Currency, comparable with controller.costs.CostBreakdown.total."""
    grid_wh: FloatArray
    charged_wh: FloatArray
    discharged_wh: FloatArray
    soc_pu: FloatArray
    """(storages, slots + 1)."""
    turbine_wh: FloatArray
    curtailed_wh: FloatArray
    value_per_kwh: FloatArray
    """(storages, slots): worth of a kWh stored at each slot's end, the dual of the state of charge."""
    iterations: int


def perfect_foresight(site: Site, end: End = "valued") -> Foresight:
    """Bound of the cheapest operation of the site's devices over its slots.

    Raises ControllerError where a feed-in price exceeds the purchase price (unbounded trade) or limits conflict.
    """
    prices = [np.full(site.slots, 0.0) for _ in site.storages]
    if end == "valued":
        for row, storage in zip(prices, site.storages, strict=True):
            row[-1:] = end_price(storage, site.tariff)
    return cheapest_operation(site, prices, equal_end=end == "equal")


def cheapest_operation(site: Site, stored_worth: Sequence[FloatArray], equal_end: bool = False) -> Foresight:
    """Cheapest operation where holding a kWh in a storage at a slot's end earns stored_worth[storage][slot].

    The last entry is the worth of what is left at the end; small falling entries before it break ties (late buying).
    """
    _check(site)
    program = Program()
    balance = _grid(program, site)
    for k, storage in enumerate(site.storages):
        _storage(program, site, storage, k, stored_worth[k], equal_end, balance)
    for k, turbine in enumerate(site.turbines):
        _turbine(program, site, turbine, k, balance)
    for k, load in enumerate(site.flexible):
        _flexible(program, site, load, k, balance)
    model = program.build()
    vectors = model.vectors()
    vectors.constant = _first_worth(site, stored_worth)
    return _result(site, model, solve_lp(model, vectors, "controller.foresight"))


def _check(site: Site) -> None:
    wrong = np.flatnonzero(site.tariff.export_per_kwh > site.tariff.import_per_kwh + 1e-9)
    if wrong.size:
        raise ControllerError(
            f"feed-in price above the purchase price in slot {int(wrong[0])}",
            where="tariff",
            mend="keep feed-in <= purchase price: buying to sell at once would earn without end",
        )
    if site.slots == 0:
        raise ControllerError("no slots", where="controller.foresight", mend="give at least one")
    if not np.all(np.isfinite(site.net_w)):
        raise ControllerError("unknown net load", where="controller.foresight", mend="substitute an estimate first")


def _first_worth(site: Site, stored_worth: Sequence[FloatArray]) -> float:
    """What the energy stored at the start is worth by the terminal price: only the difference counts."""
    rows = zip(site.storages, stored_worth, strict=True)
    return sum(storage.soc_pu * storage.e_wh / 1000 * float(worth[-1]) for storage, worth in rows)


def _grid(program: Program, site: Site) -> IntArray:
    """Import, export, PV curtailment (kWh) and the site's balance rows: import - export - ... = net load."""
    hours, tariff = site.hours, site.tariff
    most = _kwh(site.import_max_w, hours)
    soft = site.import_excess_per_kwh is not None and isfinite(most)
    bought = program.add_columns("import", site.slots, cost=tariff.import_per_kwh, hi=np.inf if soft else most)
    if soft:
        above = program.add_columns("excess", site.slots, cost=float(site.import_excess_per_kwh or 0.0))
        program.add_rows("limit", site.slots, (bought, 1.0), (above, -1.0), lo=-np.inf, hi=most)
    sold = program.add_columns("export", site.slots, cost=-tariff.export_per_kwh, hi=_kwh(site.export_max_w, hours))
    need = site.net_w * hours / 1000
    terms: list[Term] = [(bought, 1.0), (sold, -1.0)]
    negative = min(tariff.export_per_kwh.min(initial=0.0), tariff.import_per_kwh.min(initial=0.0)) < 0
    if site.pv_w is not None and negative:
        terms.append((program.add_columns("spilled", site.slots, hi=site.pv_w * hours / 1000), -1.0))
    return program.add_rows("balance", site.slots, *terms, lo=need, hi=need)


def _storage(
    program: Program, site: Site, unit: Storage, k: int, worth: FloatArray, equal_end: bool, balance: IntArray
) -> None:
    n, hours, e_kwh = site.slots, site.hours, unit.e_wh / 1000
    most_in, most_out = unit.p_charge_w * hours / 1000, unit.p_discharge_w * hours / 1000
    low, high = np.full(n, min(unit.soc_min_pu, unit.soc_pu)), np.full(n, max(unit.soc_max_pu, unit.soc_pu))
    if equal_end:
        low[-1:] = high[-1:] = unit.soc_pu
    taken = program.add_columns(f"charge{k}", n, hi=most_in, cost=unit.wear_charge_per_kwh)
    given = program.add_columns(f"discharge{k}", n, hi=most_out, cost=unit.wear_discharge_per_kwh)
    stored = program.add_columns(f"stored{k}", n, lo=low * e_kwh, hi=high * e_kwh, cost=-worth)
    start = np.zeros(n)
    start[:1] = unit.soc_pu * e_kwh
    rows = program.add_rows(
        f"soc{k}", n, (stored, 1.0), (taken, -unit.eta_charge), (given, 1 / unit.eta_discharge), lo=start, hi=start
    )
    program.add_entries(rows[1:], stored[:-1], -1.0)
    if most_in > 0 and most_out > 0:
        program.add_rows(f"share{k}", n, (taken, 1 / most_in), (given, 1 / most_out), lo=-np.inf, hi=1.0)
    program.add_entries(balance, taken, -1.0)
    program.add_entries(balance, given, 1.0)


def _turbine(program: Program, site: Site, unit: Turbine, k: int, balance: IntArray) -> None:
    """Mean power P (kW) and share u of the slot on; fuel a P^2/u above its tangents a (2 p P - p^2 u)."""
    n, hours = site.slots, site.hours
    lowest, highest = unit.p_min_w / 1000, unit.p_max_w / 1000
    power = program.add_columns(f"turbine{k}", n, hi=highest, cost=unit.cost_b_per_kwh * hours)
    on = program.add_columns(f"on{k}", n, hi=1.0, cost=unit.cost_c_per_h * hours)
    program.add_rows(f"on_max{k}", n, (power, 1.0), (on, -highest), lo=-np.inf, hi=0.0)
    program.add_rows(f"on_min{k}", n, (power, 1.0), (on, -lowest), lo=0.0, hi=np.inf)
    for name, cost, sign in (("start", unit.start_cost, 1.0), ("stop", unit.stop_cost, -1.0)):
        if cost > 0:
            change = program.add_columns(f"{name}{k}", n, cost=cost)
            was = np.zeros(n)
            was[:1] = -sign * float(unit.on)
            rows = program.add_rows(f"{name}s{k}", n, (change, 1.0), (on, -sign), lo=was, hi=np.inf)
            program.add_entries(rows[1:], on[:-1], sign)
    if unit.cost_a_per_kw2h > 0:
        square = program.add_columns(f"square{k}", n, cost=unit.cost_a_per_kw2h * hours)
        for i, point in enumerate(np.linspace(lowest, highest, TANGENTS)):
            terms: tuple[Term, ...] = ((square, 1.0), (power, -2 * point), (on, point**2))
            program.add_rows(f"tangent{k}.{i}", n, *terms, lo=0.0, hi=np.inf)
    program.add_entries(balance, power, hours)


def _flexible(program: Program, site: Site, load: FlexibleLoad, k: int, balance: IntArray) -> None:
    """Curtailed power x (kW); comfort beta x + beta2 x^2 above the tangents of the square."""
    n, hours = site.slots, site.hours
    most = load.curtail_max_pu * np.maximum(load.demand_w, 0.0) / 1000
    cut = program.add_columns(f"curtail{k}", n, hi=most, cost=load.beta_per_kwh * hours)
    if load.beta2_per_kw2h > 0:
        square = program.add_columns(f"comfort{k}", n, cost=load.beta2_per_kw2h * hours)
        for i, point in enumerate(np.linspace(0.0, float(most.max(initial=0.0)), TANGENTS)):
            rows = program.add_rows(f"cut{k}.{i}", n, (square, 1.0), lo=-(point**2), hi=np.inf)
            program.add_entries(rows, cut, -2 * point)
    program.add_entries(balance, cut, hours)


def _result(site: Site, model: Model, solution: LpSolution) -> Foresight:
    def wh(name: str, count: int, scale: float = 1000.0) -> FloatArray:
        rows = [solution.x[model.cols[f"{name}{k}"]] * scale for k in range(count)]
        return np.array(rows).reshape(count, site.slots)

    count = len(site.storages)
    first = np.array([[unit.soc_pu] for unit in site.storages]).reshape(count, 1)
    e_wh = np.array([[unit.e_wh] for unit in site.storages]).reshape(count, 1)
    duals = [-solution.row_dual[model.rows[f"soc{k}"]] for k in range(count)]
    return Foresight(
        bound=solution.objective,
        grid_wh=(solution.x[model.cols["import"]] - solution.x[model.cols["export"]]) * 1000,
        charged_wh=wh("charge", count),
        discharged_wh=wh("discharge", count),
        soc_pu=np.hstack([first, wh("stored", count) / e_wh]),
        turbine_wh=wh("turbine", len(site.turbines), 1000 * site.hours),
        curtailed_wh=wh("curtail", len(site.flexible), 1000 * site.hours),
        value_per_kwh=np.array(duals).reshape(count, site.slots),
        iterations=solution.iterations,
    )


def _kwh(limit_w: float, hours: float) -> float:
    return limit_w * hours / 1000 if isfinite(limit_w) else np.inf
