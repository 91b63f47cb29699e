"""A day of a mechanism in seconds: forecasts, plans and the law of the fast loop on realised data, without wires.

The meter loop is ideal (no lag, no dead band, setpoints followed at once), so what this costs is the mechanism's and
the forecast's doing; a run on the wire shows what the real loop loses against it. Cases are built as the service does:
an intraday window of 4 hours with a day's prices and expected net load after it, day-ahead at each gate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from controller.baseline import MeterLoop, Netting, Operation, SiteSeries
from controller.case import Asset, Case, FlexibleLoad, FloatArray, Party, Pv, Storage, Tariff, Turbine
from controller.costs import CostBreakdown, Curtailment, FeederLimit, TurbineUse
from controller.dispatch import order_at
from controller.errors import ControllerError
from controller.forecast import Forecaster, History, Kind
from controller.mechanism import Mechanism
from controller.past_errors import PastErrors
from controller.plan import Budget, Order, Plan, Stage
from controller.rules import SlotOrders

WINDOW_SLOTS = 16
TAIL_SLOTS = 96


@dataclass(frozen=True, slots=True)
class Scene:
    """A site with what was realised in a span of time, and what was known before."""

    id: str
    start_us: int
    series: SiteSeries
    """Realised demand (interruptible demand included) and PV per party."""
    parties: tuple[Party, ...]
    storages: tuple[Storage, ...]
    """With the state of charge at the start."""
    tariff: Tariff
    """From the start to a window and a tail after the end, so that the last window looks as far as the first."""
    past: Mapping[str, FloatArray]
    """Slot means before the start, W: `load/<party>` (without interruptible demand), `pv/<party>`, `flex/<device>`."""
    turbines: tuple[Turbine, ...] = ()
    flexible: tuple[FlexibleLoad, ...] = ()
    """With the realised demand of every slot."""
    zone: str = "UTC"
    gates: tuple[int, ...] = (0,)
    """Slots at which a day-ahead plan is made; it reaches to the next gate, the last one to the end."""
    feeder: FeederLimit | None = None
    """Limit of the site's import and its price; the fast loop of site netting keeps it as far as storages reach."""

    def __post_init__(self) -> None:
        need = self.series.slots + WINDOW_SLOTS + TAIL_SLOTS
        if len(self.tariff.import_per_kwh) < need:
            raise ControllerError(
                f"tariff has {len(self.tariff.import_per_kwh)} slots, {need} needed", where="Scene", mend="add a day"
            )

    @property
    def slot_us(self) -> int:
        """Length of a slot, µs."""
        return self.series.slot_s * 1_000_000

    @property
    def run_tariff(self) -> Tariff:
        """Prices of the run's own slots."""
        n = self.series.slots
        return Tariff(self.tariff.import_per_kwh[:n], self.tariff.export_per_kwh[:n])

    def cost(self, operation: Operation) -> CostBreakdown:
        """What an operation of this scene cost."""
        return operation.cost(self.run_tariff, self.feeder)

    def history(self) -> History:
        """Past and realised slot means in one; a forecaster sees of it what had ended at the issue."""
        load = self.series.slot_means(self.series.load_w)
        pv = self.series.slot_means(self.series.pv_w)
        rows = {f"pv/{party}": pv[k] for k, party in enumerate(self.series.parties)}
        for k, party in enumerate(self.series.parties):
            rows[f"load/{party}"] = load[k] - sum(f.demand_w for f in self.flexible if f.party == party)
        rows |= {f"flex/{f.id}": np.asarray(f.demand_w) for f in self.flexible}
        length = {len(row) for row in self.past.values()}
        if set(self.past) != set(rows) or len(length) != 1:
            raise ControllerError("past and run have different series", where="Scene.past", mend="give one of each")
        kinds: dict[str, Kind] = {name: "pv" if name.startswith("pv/") else "load" for name in rows}
        joined = {name: np.concatenate([self.past[name], rows[name]]) for name in sorted(rows)}
        return History(self.start_us - length.pop() * self.slot_us, self.series.slot_s, joined, kinds, self.zone)


@dataclass(slots=True)
class Outcome:
    """What a simulated run did and how its plans were."""

    operation: Operation
    day_ahead: list[Plan] = field(default_factory=list)
    intraday: list[Plan] = field(default_factory=list)

    @property
    def max_gap(self) -> float:
        """Largest certified gap of an intraday plan; 0 where none is known."""
        return max((plan.certificate.gap or 0.0 for plan in self.intraday), default=0.0)


def simulate_mechanism(
    scene: Scene,
    mechanism: Mechanism,
    forecaster: Forecaster,
    budget: Budget | None = None,
    netting: Netting = "home",
    each_slot: Callable[[Plan, MeterLoop], None] | None = None,
) -> Outcome:
    """Operate the scene by a mechanism's plans: day-ahead at the gates, intraday every slot, one step applied.

    `each_slot(plan, loop)` is called before each slot runs, for progress and inspection.
    """
    run = _Run(scene, mechanism, forecaster, budget or Budget(), netting)
    for slot in range(scene.series.slots):
        run.step(slot, each_slot)
    turbines, curtailments = run.machines.uses(), run.curtailments()
    return Outcome(run.loop.operation(turbines, curtailments), run.day_ahead, run.intraday)


class _Run:
    """State of one simulated run."""

    def __init__(
        self, scene: Scene, mechanism: Mechanism, forecaster: Forecaster, budget: Budget, netting: Netting
    ) -> None:
        self.scene, self.mechanism, self.forecaster, self.budget = scene, mechanism, forecaster, budget
        self.history = scene.history()
        limit = float("inf") if scene.feeder is None else scene.feeder.import_max_w
        self.loop = MeterLoop(scene.series, scene.storages, netting, limit)
        self.scenarios = int(getattr(mechanism, "scenarios", 0))
        self.errors = PastErrors(
            self.history, forecaster, scene.series.parties, scene.flexible, WINDOW_SLOTS + TAIL_SLOTS
        )
        self.machines = Machines(scene.turbines, scene.series.slots, scene.series.slot_s)
        self.cut_w = np.zeros((len(scene.flexible), scene.series.slots))
        self.day_ahead: list[Plan] = []
        self.intraday: list[Plan] = []

    def step(self, slot: int, each_slot: Callable[[Plan, MeterLoop], None] | None) -> None:
        """Plan what falls due and run one slot under it."""
        scene = self.scene
        if slot in scene.gates:
            ends = [gate for gate in scene.gates if gate > slot]
            count = (ends[0] if ends else scene.series.slots) - slot
            warm = self.day_ahead[-1] if self.day_ahead else None
            case = self._case(slot, count, "day_ahead")
            self.day_ahead.append(self.mechanism.plan(case, "day_ahead", self.budget, warm))
        warm = self.intraday[-1] if self.intraday else None
        plan = self.mechanism.plan(self._case(slot, WINDOW_SLOTS, "intraday"), "intraday", self.budget, warm)
        self.intraday.append(plan)
        if each_slot is not None:
            each_slot(plan, self.loop)
        self._apply(plan, slot)

    def _apply(self, plan: Plan, slot: int) -> None:
        scene, t_us, per = self.scene, self._time(slot), self.scene.series.steps_per_slot
        steps = slice(slot * per, (slot + 1) * per)
        for k, load in enumerate(scene.flexible):
            order = order_at(plan, load.id, t_us)
            demand = float(load.demand_w[slot])
            cut = 0.0 if order is None else min(max(demand - order.cap_w, 0.0), load.curtail_max_pu * demand)
            self.cut_w[k, slot] = cut
            self.loop.net_w[scene.series.parties.index(load.party), steps] -= cut
        orders = {unit.id: order_at(plan, unit.id, t_us) for unit in scene.turbines}
        self.loop.supply_w[steps] = self.machines.run_slot(slot, orders)
        following = [order_at(plan, storage.id, t_us) for storage in scene.storages]
        self.loop.run_slot(slot, slot_orders(following, scene.storages))

    def _time(self, slot: int) -> int:
        return self.scene.start_us + slot * self.scene.slot_us

    def _case(self, slot: int, slots: int, stage: Stage) -> Case:
        scene, t_us = self.scene, self._time(slot)
        forecast = self.forecaster.forecast(self.history, t_us, slots + TAIL_SLOTS, scene.series.slot_s).mean
        prices = scene.tariff
        end = min(slot + slots + TAIL_SLOTS, len(prices.import_per_kwh))
        now, after = slice(slot, slot + slots), slice(slot + slots, end)
        tail = end - slot - slots
        tail_net = {p.id: np.zeros(tail) for p in scene.parties if p.role != "grid"}
        for party in tail_net:
            if f"load/{party}" in forecast:
                net = forecast[f"load/{party}"] - forecast[f"pv/{party}"]
                net = net + sum(forecast[f"flex/{f.id}"] for f in scene.flexible if f.party == party)
                tail_net[party] = net[slots : slots + tail]
        return Case(
            site=scene.id,
            start_us=t_us,
            slot_s=scene.series.slot_s,
            parties=scene.parties,
            assets=self._assets(forecast, slots),
            load_w={p: forecast[f"load/{p}"][:slots] if f"load/{p}" in forecast else np.zeros(slots) for p in tail_net},
            tariff=Tariff(prices.import_per_kwh[now], prices.export_per_kwh[now]),
            day_ahead=self.day_ahead[-1] if stage == "intraday" and self.day_ahead else None,
            tail=Tariff(prices.import_per_kwh[after], prices.export_per_kwh[after]),
            tail_net_w=tail_net,
            import_max_w=float("inf") if scene.feeder is None else scene.feeder.import_max_w,
            import_excess_per_kwh=None if scene.feeder is None else scene.feeder.excess_per_kwh,
            net_errors_w=self.errors.at(t_us, self.scenarios) if stage == "intraday" and self.scenarios else {},
        )

    def _assets(self, forecast: Mapping[str, FloatArray], slots: int) -> tuple[Asset, ...]:
        scene, soc = self.scene, self.loop.bank.soc_pu
        stores = [replace(s, soc_pu=round(float(soc[k]), 4)) for k, s in enumerate(scene.storages)]
        flexible = [replace(f, demand_w=forecast[f"flex/{f.id}"][:slots]) for f in scene.flexible]
        pv = [Pv(f"pv-{party}", party, forecast[f"pv/{party}"][:slots]) for party in scene.series.parties]
        return (*stores, *self.machines.now(), *flexible, *pv)

    def curtailments(self) -> list[Curtailment]:
        """What interruptible loads went without."""
        hours = self.scene.series.slot_s / 3600
        return [Curtailment(load, self.cut_w[k] * hours) for k, load in enumerate(self.scene.flexible)]


class Machines:
    """Turbines that hold their ordered power through each slot; ramps are taken as instant."""

    def __init__(self, turbines: Sequence[Turbine], slots: int, slot_s: int) -> None:
        self._units = list(turbines)
        self._slot_s = slot_s
        self._energy_wh = np.zeros((len(turbines), slots))
        self._starts = [0] * len(turbines)
        self._stops = [0] * len(turbines)

    def now(self) -> tuple[Turbine, ...]:
        """The turbines in their present state."""
        return tuple(self._units)

    def run_slot(self, slot: int, orders: Mapping[str, Order | None]) -> float:
        """Hold the ordered powers for a slot; returns their sum, W. A turbine without an order is off."""
        total = 0.0
        for k, unit in enumerate(self._units):
            order = orders[unit.id]
            p_w = 0.0 if order is None else min(max(float(order.p_ref_w), 0.0), unit.p_max_w)
            changed = (p_w > 0) != unit.on
            self._starts[k] += changed and p_w > 0
            self._stops[k] += changed and not p_w > 0
            held_s = (0.0 if changed else unit.held_s) + self._slot_s
            self._units[k] = replace(unit, on=p_w > 0, p_w=p_w, held_s=held_s)
            self._energy_wh[k, slot] = p_w * self._slot_s / 3600
            total += p_w
        return total

    def uses(self) -> list[TurbineUse]:
        """What each turbine did."""
        rows = zip(self._units, self._energy_wh, self._starts, self._stops, strict=True)
        return [TurbineUse(unit, wh, (wh > 0).astype(np.float64), starts, stops) for unit, wh, starts, stops in rows]


def slot_orders(orders: Sequence[Order | None], storages: Sequence[Storage]) -> SlotOrders:
    """Orders of one slot as arrays; no order means selfuse at the rating."""
    rated = [int(max(s.p_charge_w, s.p_discharge_w)) for s in storages]
    fallback = (Order("selfuse", 0, cap) for cap in rated)
    rows = [own if own is not None else other for own, other in zip(orders, fallback, strict=True)]
    kinds = [row.kind for row in rows]
    return SlotOrders(
        fixed=np.array([kind == "fixed" for kind in kinds], dtype=bool),
        cover=np.array([kind in ("cover", "selfuse") for kind in kinds], dtype=bool),
        soak=np.array([kind in ("soak", "selfuse") for kind in kinds], dtype=bool),
        p_ref_w=np.array([row.p_ref_w for row in rows], dtype=np.float64),
        cap_w=np.array([row.cap_w for row in rows], dtype=np.float64),
        value_per_kwh=np.array([row.value_per_kwh or 0.0 for row in rows], dtype=np.float64),
        at_least_w=np.array([row.at_least_w for row in rows], dtype=np.float64),
    )
