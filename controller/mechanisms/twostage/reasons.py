"""Limits that bind in a plan, with what one more unit of each would save."""

from __future__ import annotations

import numpy as np

from controller.plan import Reason
from controller.qp import Model
from controller.stackelberg.player import Player
from controller.stackelberg.response import Response

LEAST = 1e-4
"""Shadow prices below this are left out, currency per kW or kWh."""
MOST = 12
"""Reasons kept per plan, dearest first."""

LIMITS = {
    "charge": "charging power",
    "discharge": "discharging power",
    "energy": "stored energy",
    "p": "power",
    "import": "grid import cap",
    "export": "grid export cap",
}


def reasons_of(model: Model, player: Player, response: Response) -> list[Reason]:
    """Binding upper limits of powers, both limits of stored energy, and soft grid caps that are exceeded."""
    assert response.solution is not None
    dual, x = response.solution.col_dual, response.solution.x
    found = []
    for name, places in model.cols.items():
        owner, _, part = name.rpartition(".")
        if part not in LIMITS or not owner:
            continue
        if owner == "over":
            found += [
                Reason(player.name, int(k), LIMITS[part], round(float(response.marginal_per_kwh[k]), 6))
                for k in np.flatnonzero(x[places] > 1e-6)
            ]
            continue
        shadow = -dual[places] if part != "energy" else np.abs(dual[places])
        for k in np.flatnonzero(shadow > LEAST):
            side = "at its highest" if dual[places[k]] < 0 else "at its lowest"
            found.append(Reason(owner, int(k), f"{LIMITS[part]} {side}", round(float(shadow[k]), 6)))
    return found


def dearest(reasons: list[Reason], slots: int) -> tuple[Reason, ...]:
    """The dearest few within the horizon, in a fixed order."""
    inside = [reason for reason in reasons if reason.slot < slots]
    ranked = sorted(inside, key=lambda r: (-abs(r.shadow_price), r.slot, r.who, r.limit))
    return tuple(ranked[:MOST])
