"""Two-speed control: a slot's order and the measured net load give a storage's setpoint at every tick.

Pure law (specification "dispatch: from plan to device"). Bus sign for powers of devices: discharge > 0, charge < 0.
A net load is a need: > 0 means that the party (or the site) lacks power, < 0 that it has a surplus.
The formulas take floats or arrays alike, so the simulations in controller/ run the very law that the devices get.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from controller.case import FloatArray, Storage
from controller.errors import ControllerError
from controller.plan import Order, OrderKind, Plan

PRICE_TOLERANCE_PER_KWH = 1e-6
"""Prices are quantised to 1e-6 per kWh; a comparison closer than that counts as equal."""

Values = FloatArray | float
Flags = npt.NDArray[np.bool_] | bool


def covers(
    buy_per_kwh: Values, value_per_kwh: Values, eta_discharge: Values, wear_per_kwh: Values
) -> npt.NDArray[np.bool_]:
    """True where discharging instead of buying pays: (purchase price - wear) * eta_dis >= worth of stored energy."""
    gain = (np.asarray(buy_per_kwh) - wear_per_kwh) * eta_discharge
    return np.asarray(gain >= np.asarray(value_per_kwh) - PRICE_TOLERANCE_PER_KWH)


def soaks(
    sell_per_kwh: Values, value_per_kwh: Values, eta_charge: Values, wear_per_kwh: Values
) -> npt.NDArray[np.bool_]:
    """True where storing instead of selling pays: worth of stored energy * eta_ch - wear >= sale price."""
    gain = np.asarray(value_per_kwh) * eta_charge - wear_per_kwh
    return np.asarray(gain >= np.asarray(sell_per_kwh) - PRICE_TOLERANCE_PER_KWH)


def kind_of(cover: bool, soak: bool) -> OrderKind:
    """The order kind that allows exactly this: both -> selfuse, neither -> fixed (at 0)."""
    if cover:
        return "selfuse" if soak else "cover"
    return "soak" if soak else "fixed"


def storage_order(
    p_ref_w: float,
    value_per_kwh: float,
    buy_per_kwh: float,
    sell_per_kwh: float,
    storage: Storage,
    planned_net_w: float | None = None,
    band_w: float = 50.0,
) -> Order:
    """The order of one storage in one slot, from the planned power, the worth of its energy and its party's prices.

    p_ref_w : planned power, W, bus sign          value_per_kwh : dual of the state of charge, currency per kWh stored
    planned_net_w : the party's planned net load without this storage, W (> 0 needs). Energy is bought from the grid
    where the plan charges more than the planned surplus, and sold to it where it discharges more than the planned
    need (by more than band_w). Without it, a slot counts as planned purchase (sale) when the prices alone make it
    worth while: value * eta_ch - wear >= purchase price ((sale price - wear) * eta_dis >= value).
    A planned purchase is `fixed` at the reference. So is a planned sale, unless the worth of stored energy allows to
    cover as well: then the sale is the least that is given (`at_least_w`) and a greater measured need is met beyond it,
    since what the forecast missed would cost the purchase price. Otherwise: cover, soak, selfuse or fixed 0.
    """
    p_ref = _clip_int(p_ref_w, -storage.p_charge_w, storage.p_discharge_w)
    value = round(value_per_kwh, 6)
    cap = int(max(storage.p_charge_w, storage.p_discharge_w))
    cover = bool(covers(buy_per_kwh, value, storage.eta_discharge, storage.wear_discharge_per_kwh))
    soak = bool(soaks(sell_per_kwh, value, storage.eta_charge, storage.wear_charge_per_kwh))
    if _trades_with_grid(p_ref, value, buy_per_kwh, sell_per_kwh, storage, planned_net_w, band_w):
        if p_ref > 0 and cover:
            return Order("cover", p_ref, cap, value, p_ref)
        return Order("fixed", p_ref, abs(p_ref), value)
    kind = kind_of(cover, soak)
    return Order(kind, 0 if kind == "fixed" else p_ref, cap, value)


def _trades_with_grid(
    p_ref: int, value: float, buy: float, sell: float, storage: Storage, planned_net_w: float | None, band_w: float
) -> bool:
    """Whether the plan means this slot's power to pass the party's meter: bought to store, or sold from store."""
    if planned_net_w is not None:
        need = max(planned_net_w, 0.0) if p_ref > 0 else max(-planned_net_w, 0.0)
        return abs(p_ref) > need + band_w
    if p_ref < 0:
        return bool(soaks(buy, value, storage.eta_charge, storage.wear_charge_per_kwh))
    return p_ref > 0 and bool(covers(sell, value, storage.eta_discharge, storage.wear_discharge_per_kwh))


def order_at(plan: Plan | None, device: str, t_us: int) -> Order | None:
    """The device's order of the slot that holds t_us; None when there is no plan or it does not reach so far."""
    if plan is None:
        return None
    orders = plan.orders.get(device)
    slot = (t_us - plan.start_us) // (plan.slot_s * 1_000_000)
    return orders[slot] if orders is not None and 0 <= slot < len(orders) else None


def net_load_w(meter_p_w: float | None, storage_p_w: Iterable[float | None]) -> float | None:
    """Net load of a party without its storages, from its meter (p_w > 0 feeds the bus) and their measured powers.

    None when the meter or one of the storages is unknown: a missing measurement is never 0.
    """
    total = 0.0 if meter_p_w is None else -meter_p_w
    for p_w in storage_p_w:
        if p_w is None:
            return None
        total += p_w
    return None if meter_p_w is None else total


def wanted_w(may_cover: Flags, may_soak: Flags, cap_w: Values, net_w: Values, at_least_w: Values = 0.0) -> FloatArray:
    """Power that meets the net load as far as the order allows, before limits; booleans and powers broadcast.

    at_least_w : planned sale (Order.at_least_w), given whatever the net load
    """
    cap = np.asarray(cap_w, dtype=np.float64)
    upper = np.where(may_cover, cap, 0.0)
    lower = np.where(may_soak, -cap, 0.0)
    met = np.minimum(np.maximum(np.asarray(net_w, dtype=np.float64), lower), upper)
    sold = np.asarray(at_least_w, dtype=np.float64)
    return np.where(sold > 0, np.maximum(met, sold), met)


def reachable_w(
    p_charge_w: Values,
    p_discharge_w: Values,
    e_wh: Values,
    eta_charge: Values,
    eta_discharge: Values,
    soc_over_min_pu: Values,
    soc_under_max_pu: Values,
    dt_s: float,
) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest power (bus sign, whole W) that a storage can hold for dt_s without leaving its SOC limits."""
    hours = dt_s / 3600
    give = np.maximum(soc_over_min_pu, 0.0) * e_wh * eta_discharge / hours
    take = np.maximum(soc_under_max_pu, 0.0) * e_wh / (np.asarray(eta_charge) * hours)
    highest = np.floor(np.minimum(p_discharge_w, give) + 1e-6)
    lowest = -np.floor(np.minimum(p_charge_w, take) + 1e-6)
    return lowest, highest


def storage_setpoint_w(
    order: Order | None,
    net_load_w: float | None,
    storage: Storage,
    soc_pu: float | None,
    dt_s: float,
    *,
    previous_w: int | None = None,
    dead_band_w: float = 0.0,
) -> int:
    """The fast loop: setpoint in W (bus sign, quantum 1 W) of one storage for the next dt_s.

    order : the slot's order, or None (no plan in force, or too old) -> selfuse at the rating
    net_load_w : measured net load of the party WITHOUT this storage's own power, > 0 = it needs energy; None
    (stale meter) -> the reference power is held (0 without an order)
    soc_pu : measured; None -> only the rating limits, the device guards its own state of charge
    previous_w, dead_band_w : the last setpoint is kept while the new one differs by no more than the band, as long as
    it lies within the limits
    Raises ControllerError if dt_s <= 0.
    """
    if dt_s <= 0:
        raise ControllerError(f"tick of {dt_s} s", where=storage.id, mend="give a positive dt_s")
    wanted = _wanted(order, net_load_w, storage)
    low, high = _limits(storage, soc_pu, dt_s)
    if previous_w is not None and abs(wanted - previous_w) <= dead_band_w and low <= previous_w <= high:
        return previous_w
    return _clip_int(wanted, low, high)


def _wanted(order: Order | None, net_w: float | None, storage: Storage) -> float:
    """Power asked for, before the limits of the storage."""
    if order is None:
        rating = max(storage.p_charge_w, storage.p_discharge_w)
        return 0.0 if net_w is None else float(wanted_w(True, True, rating, net_w))
    if net_w is None or order.kind == "fixed":
        return float(order.p_ref_w)
    may_cover, may_soak = order.kind in ("cover", "selfuse"), order.kind in ("soak", "selfuse")
    return float(wanted_w(may_cover, may_soak, order.cap_w, net_w, order.at_least_w))


def _limits(storage: Storage, soc_pu: float | None, dt_s: float) -> tuple[float, float]:
    """Lowest and highest power of the storage over dt_s."""
    if soc_pu is None:
        return -storage.p_charge_w, storage.p_discharge_w
    low, high = reachable_w(
        storage.p_charge_w,
        storage.p_discharge_w,
        storage.e_wh,
        storage.eta_charge,
        storage.eta_discharge,
        soc_pu - storage.soc_min_pu,
        storage.soc_max_pu - soc_pu,
        dt_s,
    )
    return float(low), float(high)


def _clip_int(p_w: float, low_w: float, high_w: float) -> int:
    """p_w within [low, high], rounded to whole W without leaving it."""
    return int(min(max(round(p_w), np.ceil(low_w - 1e-6)), np.floor(high_w + 1e-6)))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One storage that shares in a net load."""

    storage: Storage
    order: Order | None
    soc_pu: float | None


def shared_setpoints_w(
    candidates: Sequence[Candidate],
    net_w: float | None,
    dt_s: float,
    *,
    previous_w: Mapping[str, int] | None = None,
    dead_band_w: float = 0.0,
) -> dict[str, int]:
    """Setpoints of all storages that see one net load: those behind one home meter, or all of a site.

    Netting at the site's meter costs the site as a whole less: on 8 homes (hourly data with synthetic minutes, two
    spans of 10 days, October and February, ideal loop) tou_night captured 97 and 96 % of the achievable saving there,
    79 and 82 % at the homes' meters; central control 96 and 96 against 78 and 80, so not more than the rule.
    At the homes' meters one battery stores a surplus that
    its neighbour buys back from the grid in the same minute.

    net_w : measured net load without any of them. Fixed orders and planned sales count first; what they leave is met
    in merit order: a need by the cheapest stored energy first, a surplus into the dearest (storages without an order
    count as worth 0 and go first either way; ties by id). So the result does not depend on the order of `candidates`.
    """
    last = previous_w or {}
    result: dict[str, int] = {}
    sold = {c.storage.id: 0 if c.order is None else c.order.at_least_w for c in candidates}
    rest = None if net_w is None else net_w - sum(sold.values())
    fixed = sorted((c for c in candidates if _is_fixed(c)), key=lambda c: c.storage.id)
    for candidate in fixed:
        rest = _take(candidate, rest, dt_s, last, dead_band_w, result)
    following = (c for c in candidates if not _is_fixed(c))
    need = rest
    for candidate in sorted(following, key=lambda c: _merit(c, need)):
        rest = _take(candidate, rest, dt_s, last, dead_band_w, result)
    return result


def _take(
    candidate: Candidate,
    rest_w: float | None,
    dt_s: float,
    previous_w: Mapping[str, int],
    dead_band_w: float,
    result: dict[str, int],
) -> float | None:
    """Set this storage's setpoint against what is left of the net load; returns what is left then."""
    storage = candidate.storage
    setpoint = storage_setpoint_w(
        candidate.order,
        rest_w,
        storage,
        candidate.soc_pu,
        dt_s,
        previous_w=previous_w.get(storage.id),
        dead_band_w=dead_band_w,
    )
    result[storage.id] = setpoint
    return None if rest_w is None else rest_w - setpoint


def _is_fixed(candidate: Candidate) -> bool:
    return candidate.order is not None and candidate.order.kind == "fixed"


def _merit(candidate: Candidate, net_w: float | None) -> tuple[float, str]:
    """Sort key: worth of stored energy rising where energy is needed, falling where it is in surplus; then the id."""
    value = candidate.order.value_per_kwh if candidate.order is not None else None
    if value is None:
        return (float("-inf"), candidate.storage.id)
    return (value if net_w is None or net_w >= 0 else -value, candidate.storage.id)
