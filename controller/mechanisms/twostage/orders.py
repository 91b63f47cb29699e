"""From planned powers to orders and schedules of devices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controller.case import Asset, Case, FlexibleLoad, FloatArray, Pv, Storage, Turbine
from controller.dispatch import storage_order
from controller.plan import FREE_W, Order, Schedule
from controller.stackelberg.response import Response

CURTAIL_QUANTUM_W = 1.0
"""Less curtailment than this is none."""


def orders_of(
    case: Case, asset: Asset, response: Response, need_kw: FloatArray, buy: tuple[float, ...], sell: tuple[float, ...]
) -> tuple[Order, ...] | None:
    """Orders of one asset over the case's slots; None where it may run free throughout.

    need_kw : the net need of the asset's party with all its assets, kW
    """
    if isinstance(asset, Storage):
        return _storage_orders(case, asset, response, need_kw, buy, sell)
    p_w = np.rint(response.p_kw[asset.id][: case.slots] * 1000)
    if isinstance(asset, Turbine):
        return tuple(Order("fixed", int(p), int(asset.p_max_w)) for p in p_w)
    if isinstance(asset, Pv):
        return _limited(
            np.asarray(asset.available_w)[: case.slots], np.asarray(asset.available_w)[: case.slots] - p_w, 1
        )
    return _limited(np.asarray(asset.demand_w)[: case.slots], p_w, -1)


def _storage_orders(
    case: Case, asset: Storage, response: Response, need_kw: FloatArray, buy: tuple[float, ...], sell: tuple[float, ...]
) -> tuple[Order, ...]:
    p_kw, values = (rows[asset.id][: case.slots] for rows in (response.p_kw, response.value_per_kwh))
    net_w = (need_kw + p_kw) * 1000
    return tuple(
        storage_order(float(p_kw[k] * 1000), float(values[k]), buy[k], sell[k], asset, float(net_w[k]))
        for k in range(case.slots)
    )


def _limited(full_w: FloatArray, cut_w: FloatArray, sign: int) -> tuple[Order, ...] | None:
    """Orders of a device that runs free except where the plan cuts it."""
    cut = cut_w > CURTAIL_QUANTUM_W
    if not cut.any():
        return None
    left = np.rint(np.where(cut, full_w - cut_w, full_w)).astype(int)
    return tuple(
        Order("fixed", int(sign * p), int(p) if limited else FREE_W) for p, limited in zip(left, cut, strict=True)
    )


def schedule_of(case: Case, asset: Asset, response: Response, on: Mapping[str, FloatArray]) -> Schedule:
    """Planned trajectory of one asset over the case's slots, bus sign."""
    p_w = np.rint(response.p_kw[asset.id][: case.slots] * 1000).astype(int)
    if isinstance(asset, FlexibleLoad):
        p_w = np.rint(p_w - np.asarray(asset.demand_w)[: case.slots]).astype(int)
    row = tuple(int(p) for p in p_w)
    if isinstance(asset, Turbine):
        return Schedule(p_w=row, on=tuple(bool(u > 0.5) for u in on[asset.id][: case.slots]))
    if isinstance(asset, Storage):
        energy, value = (rows[asset.id][: case.slots] for rows in (response.energy_kwh, response.value_per_kwh))
        return Schedule(
            p_w=row,
            soc_pu=tuple(round(float(e) / (asset.e_wh / 1000), 6) for e in energy),
            value_per_kwh=tuple(round(float(v), 6) for v in value),
        )
    return Schedule(p_w=row)
