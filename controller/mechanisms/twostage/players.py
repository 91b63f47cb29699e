"""From a Case to the players of the game: prosumers follow, the operator leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.case import Asset, Case, FlexibleLoad, FloatArray, Pv, Storage
from controller.errors import ControllerError
from controller.stackelberg.player import Player
from controller.stackelberg.terms import Adjustment, Commitment, Terminal

CENTRAL = "site"
"""Name of the player that holds all assets."""


def operator_of(case: Case) -> str:
    """The one party with the role operator. Raises ControllerError when there is none or several."""
    found = [party.id for party in case.parties if party.role == "operator"]
    if len(found) != 1:
        raise ControllerError(
            f"{len(found)} parties have the role operator", where=f"site {case.site}", mend="twostage needs exactly one"
        )
    return found[0]


def grid_of(case: Case) -> str:
    """The one party with the role grid. Raises ControllerError when there is none or several."""
    found = [party.id for party in case.parties if party.role == "grid"]
    if len(found) != 1:
        raise ControllerError(
            f"{len(found)} parties have the role grid", where=f"site {case.site}", mend="twostage needs exactly one"
        )
    return found[0]


def prosumers_of(case: Case) -> tuple[str, ...]:
    """Followers in the order of the case."""
    return tuple(party.id for party in case.parties if party.role == "prosumer")


def check_case(case: Case) -> None:
    """Every asset belongs to a prosumer or the operator, every forecast is known. Raises ControllerError."""
    owners = {operator_of(case), *prosumers_of(case)}
    for asset in case.assets:
        if asset.party not in owners:
            raise ControllerError(
                f"{asset.id} belongs to {asset.party!r}",
                where=f"site {case.site}",
                mend="give it to a prosumer or operator",
            )
    _check_known(case)


def _check_known(case: Case) -> None:
    rows = {f"load of {party}": row for party, row in case.load_w.items()}
    rows |= {f"tail net load of {party}": row for party, row in case.tail_net_w.items()}
    for name, tariff in (("tariff", case.tariff), ("tail tariff", case.tail)):
        if tariff is not None:
            rows |= {f"{name} import": tariff.import_per_kwh, f"{name} export": tariff.export_per_kwh}
    rows |= {f"available power of {a.id}": a.available_w for a in case.assets if isinstance(a, Pv)}
    rows |= {f"demand of {a.id}": a.demand_w for a in case.assets if isinstance(a, FlexibleLoad)}
    rows |= {f"state of charge of {s.id}": np.array([s.soc_pu]) for s in storages_of(case)}
    for name, row in rows.items():
        unknown = np.flatnonzero(~np.isfinite(np.asarray(row, dtype=np.float64)))
        if unknown.size:
            raise ControllerError(
                f"{name} is unknown in slot {int(unknown[0])}",
                where=f"site {case.site}",
                mend="substitute a forecast before planning",
            )


def player_of(
    case: Case,
    party: str,
    *,
    terminals: Mapping[str, Terminal],
    commitments: Mapping[str, Commitment],
    adjustments: Mapping[str, Adjustment],
    late_per_kwh: float,
) -> Player:
    """One party with its assets, at the tariff's prices."""
    assets = tuple(asset for asset in case.assets if asset.party == party)
    return Player(
        name=party,
        assets=assets,
        hours=np.full(case.slots, case.hours),
        load_kw=party_load_kw(case, party),
        buy_per_kwh=case.tariff.import_per_kwh,
        sell_per_kwh=case.tariff.export_per_kwh,
        terminals={a.id: terminals[a.id] for a in assets if a.id in terminals},
        commitments={a.id: commitments[a.id] for a in assets if a.id in commitments},
        adjustments={a.id: adjustments[a.id] for a in assets if a.id in adjustments},
        late_per_kwh=late_per_kwh,
    )


def party_load_kw(case: Case, party: str) -> FloatArray:
    """Uncontrollable demand of a party, kW; zero where the case names none."""
    load = case.load_w.get(party)
    return np.zeros(case.slots) if load is None else np.asarray(load, dtype=np.float64) / 1000


def demand_of(case: Case, party: str) -> FloatArray:
    """A party's demand with its flexible loads uncurtailed, kW."""
    flexible = [a.demand_w for a in case.assets if isinstance(a, FlexibleLoad) and a.party == party]
    return np.asarray(np.sum([party_load_kw(case, party), *[np.asarray(d) / 1000 for d in flexible]], axis=0))


def with_caps(case: Case, player: Player) -> Player:
    """The player that faces the grid meter gets the site's caps."""
    return replace(player, import_cap_kw=case.import_max_w / 1000, export_cap_kw=case.export_max_w / 1000)


def stretched(asset: Asset, more: int) -> Asset:
    """The asset with `more` steps of no forecast of its own: the tail's net load holds PV and flexible demand."""
    if isinstance(asset, Pv):
        return replace(asset, available_w=np.concatenate([asset.available_w, np.zeros(more)]))
    if isinstance(asset, FlexibleLoad):
        return replace(asset, demand_w=np.concatenate([asset.demand_w, np.zeros(more)]))
    return asset


def storages_of(case: Case) -> tuple[Storage, ...]:
    """All storages in the order of the case."""
    return tuple(asset for asset in case.assets if isinstance(asset, Storage))
