"""The rules that every report compares with: selfuse, tou, tou_night (specification "dispatch: from plan to device").

Each works per storage from the tariff and its own state of charge, slot by slot. Pure; arrays hold one entry a storage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import minimum_filter1d

from controller.case import FloatArray, Storage
from controller.dispatch import kind_of
from controller.errors import ControllerError
from controller.plan import Order

RuleName = Literal["selfuse", "tou", "tou_night"]
RULES: tuple[RuleName, ...] = ("selfuse", "tou", "tou_night")

BoolArray = npt.NDArray[np.bool_]
FULL_WH = 1.0
"""A storage that lacks less counts as full."""


@dataclass(frozen=True, slots=True)
class SlotOrders:
    """Orders of several storages for one slot, as arrays (storages,)."""

    fixed: BoolArray
    cover: BoolArray
    soak: BoolArray
    p_ref_w: FloatArray
    cap_w: FloatArray
    value_per_kwh: FloatArray
    """Worth of stored energy, for the merit order where storages share one net load; 0 where a rule knows none."""
    at_least_w: FloatArray
    """Planned sales (controller.plan.Order); 0 where there is none."""

    def of(self, index: npt.NDArray[np.intp]) -> SlotOrders:
        """The orders of these storages only."""
        return SlotOrders(
            fixed=self.fixed[index],
            cover=self.cover[index],
            soak=self.soak[index],
            p_ref_w=self.p_ref_w[index],
            cap_w=self.cap_w[index],
            value_per_kwh=self.value_per_kwh[index],
            at_least_w=self.at_least_w[index],
        )


def dear_slots(import_per_kwh: FloatArray, storage: Storage, slot_s: int) -> BoolArray:
    """Slots whose price exceeds the lowest within one day either side by more than round trip and wear.

    import_per_kwh : array (slots,)     Returns array (slots,): price > lowest / (eta_ch * eta_dis) + wear, where wear
    is that of one kWh discharged with the charging it took.
    """
    day = round(86_400 / slot_s)
    lowest = minimum_filter1d(np.asarray(import_per_kwh, dtype=np.float64), size=2 * day + 1, mode="nearest")
    round_trip = storage.eta_charge * storage.eta_discharge
    wear = storage.wear_charge_per_kwh / round_trip + storage.wear_discharge_per_kwh
    return np.asarray(import_per_kwh > lowest / round_trip + wear + 1e-9)


class Rule:
    """One rule for a set of storages under one tariff. `orders(slot, soc_pu)` gives the slot's orders."""

    def __init__(self, name: RuleName, storages: Sequence[Storage], import_per_kwh: FloatArray, slot_s: int) -> None:
        """import_per_kwh : array (slots,), at best with a day before and after the slots asked for."""
        if name not in RULES:
            raise ControllerError(f"no rule {name!r}", where="rules", mend=f"there are: {', '.join(RULES)}")
        self.name = name
        self.storages = tuple(storages)
        self.slot_s = slot_s
        self._cap = np.array([max(s.p_charge_w, s.p_discharge_w) for s in self.storages])
        self._p_charge = np.array([s.p_charge_w for s in self.storages])
        self._e = np.array([s.e_wh for s in self.storages])
        self._eta = np.array([s.eta_charge for s in self.storages])
        self._soc_max = np.array([s.soc_max_pu for s in self.storages])
        rows = [dear_slots(import_per_kwh, s, slot_s) for s in self.storages]
        self._dear = np.array(rows, dtype=bool).reshape(len(rows), len(import_per_kwh))
        self._until_dear = _until(self._dear)

    def orders(self, slot: int, soc_pu: FloatArray) -> SlotOrders:
        """Orders of all storages for this slot of the tariff; soc_pu : array (storages,), measured at its start."""
        if self.name == "selfuse":
            return self._following(np.ones(len(self.storages), dtype=bool), np.ones(len(self.storages), dtype=bool))
        dear, until = self._dear[:, slot], self._until_dear[:, slot]
        lacking_wh = np.maximum(self._soc_max - soc_pu, 0.0) * self._e / self._eta
        per_slot_wh = self._p_charge * self.slot_s / 3600
        fill = ~dear & (lacking_wh > FULL_WH) & (until <= np.ceil(lacking_wh / per_slot_wh - 1e-9))
        hours = np.where(fill, until, 1.0) * self.slot_s / 3600
        power = np.where(fill, np.minimum(lacking_wh / hours, self._p_charge), 0.0)
        cover = ~fill if self.name == "tou_night" else dear
        return self._following(cover & ~fill, ~dear & ~fill, fill, -power)

    def order(self, slot: int, index: int, soc_pu: float) -> Order:
        """The order of one storage as a mechanism would give it."""
        soc = np.full(len(self.storages), soc_pu)
        rows = self.orders(slot, soc)
        fixed = bool(rows.fixed[index])
        kind = "fixed" if fixed else kind_of(bool(rows.cover[index]), bool(rows.soak[index]))
        return Order(kind, round(float(rows.p_ref_w[index])), round(float(rows.cap_w[index])), None)

    def _following(
        self, cover: BoolArray, soak: BoolArray, fixed: BoolArray | None = None, p_ref_w: FloatArray | None = None
    ) -> SlotOrders:
        count = len(self.storages)
        none = np.zeros(count)
        return SlotOrders(
            fixed=np.zeros(count, dtype=bool) if fixed is None else fixed,
            cover=cover,
            soak=soak,
            p_ref_w=none if p_ref_w is None else p_ref_w,
            cap_w=self._cap,
            value_per_kwh=none,
            at_least_w=none,
        )


def _until(dear: BoolArray) -> FloatArray:
    """Slots from each slot to the next dear one, array like dear; infinite where none follows."""
    slots = dear.shape[1]
    index = np.where(dear, np.arange(slots, dtype=np.float64), np.inf)
    following = np.minimum.accumulate(index[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(following - np.arange(slots))
