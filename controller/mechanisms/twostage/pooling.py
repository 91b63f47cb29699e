"""Like storages and all PV as one each: the day-ahead commitment does not care whose battery it is.

What several storages of equal efficiency and wear can do together, their pool can do: a relaxation, so the bound of the
pooled program bounds the site's cost. Eight like batteries make the mixed-integer program eight times as symmetric and
HiGHS several times slower; the powers of each come from the convex program that follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from controller.case import Asset, Pv, Storage
from controller.stackelberg.player import Player, energy_limits_kwh
from controller.stackelberg.terms import Terminal


def pooled(player: Player, apart: Iterable[str]) -> Player:
    """The player with like storages pooled, except those named in `apart`, and with one PV."""
    kept, groups, pv = list[Asset](), dict[tuple[float, ...], list[Storage]](), list[Pv]()
    alone = set(apart)
    for asset in player.assets:
        if isinstance(asset, Pv):
            pv.append(asset)
        elif isinstance(asset, Storage) and asset.id not in alone:
            groups.setdefault(_kind(player, asset), []).append(asset)
        else:
            kept.append(asset)
    terminals = {name: player.terminals[name] for name in player.terminals if name in alone}
    for members in groups.values():
        pool = _pool(members)
        kept.append(pool)
        if members[0].id in player.terminals:
            terminals[pool.id] = _pooled_terminal(player, members)
    if pv:
        kept.append(replace(pv[0], available_w=np.sum([np.maximum(p.available_w, 0.0) for p in pv], axis=0)))
    return replace(player, assets=tuple(kept), terminals=terminals)


def _kind(player: Player, asset: Storage) -> tuple[float, ...]:
    """Storages that agree in this may be pooled."""
    values = player.terminals[asset.id].values_per_kwh if asset.id in player.terminals else ()
    head = asset.eta_charge, asset.eta_discharge, asset.wear_charge_per_kwh, asset.wear_discharge_per_kwh
    return (*head, *(float(v) for v in values))


def _pool(members: list[Storage]) -> Storage:
    e_wh = sum(s.e_wh for s in members)
    limits = [energy_limits_kwh(s) for s in members]
    return replace(
        members[0],
        e_wh=e_wh,
        p_charge_w=sum(s.p_charge_w for s in members),
        p_discharge_w=sum(s.p_discharge_w for s in members),
        soc_pu=sum(s.soc_pu * s.e_wh for s in members) / e_wh,
        soc_min_pu=sum(low for low, _ in limits) * 1000 / e_wh,
        soc_max_pu=sum(high for _, high in limits) * 1000 / e_wh,
    )


def _pooled_terminal(player: Player, members: list[Storage]) -> Terminal:
    terminals = [player.terminals[s.id] for s in members]
    return Terminal(np.asarray(np.sum([t.widths_kwh for t in terminals], axis=0)), terminals[0].values_per_kwh)
