"""A power that EMHASS plans, as orders: held as it is, or carried out through the home's meter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from benchmarks.emhass.setup import sum_of
from controller.baseline import Netting
from controller.case import Case, FloatArray, Storage
from controller.errors import ControllerError
from controller.plan import Order

Follow = Literal["held", "metered"]
BAND_W = 50.0
"""Where a plan charges more than its surplus, or gives more than its need, by so much, it trades with the grid."""
IDLE_W = 1.0
"""Below this a planned power is the solver's noise."""
EMPTY_PU = 0.005
"""So near to its lowest state of charge a storage keeps nothing for later."""


@dataclass(slots=True)
class Group:
    """What one EMHASS plans for: a home with its storage, or all of a site."""

    parties: tuple[str, ...]
    storages: tuple[Storage, ...]
    total: Storage = field(init=False)
    share: FloatArray = field(init=False)
    """Of each storage in the energy of all."""

    def __post_init__(self) -> None:
        self.total = self.storages[0] if len(self.storages) == 1 else sum_of(self.storages)
        self.share = np.array([s.e_wh for s in self.storages]) / self.total.e_wh

    @classmethod
    def of(cls, case: Case, scope: Netting) -> list[Group]:
        """Those of a case. Raises ControllerError where a home does not have one storage."""
        storages = tuple(asset for asset in case.assets if isinstance(asset, Storage))
        if not storages or len({s.party for s in storages}) < len(storages):
            raise ControllerError(
                "no storage, or two of one party", where="emhass", mend="give each home with EMHASS one storage"
            )
        if scope == "site":
            return [cls(tuple(case.load_w), storages)]
        return [cls((s.party,), (s,)) for s in storages]

    def shared(self, order: Order) -> list[Order]:
        """The order's power among the storages: charging by the room they have, discharging by what they hold."""
        limits = [s.soc_max_pu if order.p_ref_w < 0 else s.soc_min_pu for s in self.storages]
        weight = np.abs(np.array(limits) - [s.soc_pu for s in self.storages]) * self.share
        weight = weight / weight.sum() if weight.sum() > 0 else self.share
        caps = [min(order.cap_w, int(max(s.p_charge_w, s.p_discharge_w))) for s in self.storages]
        rows = zip(weight.tolist(), caps, strict=True)
        return [Order(order.kind, round(w * order.p_ref_w), c, None, round(w * order.at_least_w)) for w, c in rows]


def metered(p_w: float, net_w: float, soc_end_pu: float, storage: Storage) -> Order:
    """A planned power as an order that follows the home's meter wherever the plan does not trade with the grid.

    p_w : planned, bus sign     net_w : forecast of the plan, need > 0     soc_end_pu : planned for the step's end
    Charging from the grid is held. Charging from surplus stores the measured surplus. Discharging to meet a need meets
    the measured one (and stores a surplus, if it is one after all); a planned sale is the least that is given. Where
    the plan keeps energy for later the storage only stores; an empty or full one does what comes: selfuse.
    """
    p_ref, cap = round(p_w), int(max(storage.p_charge_w, storage.p_discharge_w))
    if p_w < -IDLE_W:
        bought = -p_w > max(-net_w, 0.0) + BAND_W
        return Order("fixed", p_ref, -p_ref) if bought else Order("soak", p_ref, cap)
    if p_w > IDLE_W:
        sold = p_w > max(net_w, 0.0) + BAND_W
        return Order("selfuse", p_ref, cap, at_least_w=p_ref if sold else 0)
    kept = net_w > 0 and soc_end_pu > storage.soc_min_pu + EMPTY_PU
    return Order("soak" if kept else "selfuse", 0, cap)
