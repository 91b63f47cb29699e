"""The pool's order as orders of its storages: what is held, or missing, decides who gives and takes how much."""

from __future__ import annotations

import numpy as np

from controller.case import Storage
from controller.plan import Order
from controller.pool.program import Pool
from controller.pool.walk import PoolOrder

MERIT_PER_KWH = 2e-6
"""Difference of worth between neighbours in merit order: the fullest gives first, the emptiest takes first."""


def storage_orders(pool: Pool, order: PoolOrder) -> dict[str, Order]:
    """One slot of the pool as one order a storage, by energy held (giving) or room left (taking)."""
    gives = order.p_ref_kw > 0 or (order.p_ref_kw == 0 and order.kind == "cover")
    weights = np.array([_weight(s, gives) for s in pool.storages])
    total = float(weights.sum())
    shares = weights / total if total > 0 else np.full(len(weights), 1 / max(len(weights), 1))
    rank = np.argsort(np.argsort([-s.soc_pu for s in pool.storages], kind="stable"), kind="stable")
    found = {}
    for storage, share, place in zip(pool.storages, shares, rank, strict=True):
        rating = storage.p_discharge_w if gives else storage.p_charge_w
        most = int(max(storage.p_charge_w, storage.p_discharge_w))
        p_ref = round(min(max(order.p_ref_kw * 1000 * share, -storage.p_charge_w), storage.p_discharge_w))
        cap = min(round(order.cap_kw * 1000 * share), most)
        least = min(round(order.at_least_kw * 1000 * share), int(rating))
        worth = round(order.worth_per_kwh + MERIT_PER_KWH * (int(place) - len(weights)), 6)
        if order.kind == "fixed":
            held = -cap if order.cap_kw > 0 else 0
            found[storage.id] = Order("fixed", max(held, -int(storage.p_charge_w)), cap, worth)
        else:
            found[storage.id] = Order(order.kind, p_ref, cap if cap > 0 else 0, worth, least)
    return found


def _weight(storage: Storage, gives: bool) -> float:
    """Energy it can give, or take, Wh."""
    held = storage.soc_pu - storage.soc_min_pu if gives else storage.soc_max_pu - storage.soc_pu
    return max(held, 0.0) * storage.e_wh
