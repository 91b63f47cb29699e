"""When a storage needs a binary against charging and discharging at once (specs/optimisation.md, Rules)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from controller.case import FloatArray, Storage, Tariff
from controller.errors import ControllerError


def cycling_price_per_kwh(storage: Storage) -> float:
    """Below this price burning energy in a round trip pays: -(k_c + eta_c*eta_d*k_d) / (1 - eta_c*eta_d)."""
    round_trip = storage.eta_charge * storage.eta_discharge
    if round_trip >= 1.0:
        return -np.inf
    return -(storage.wear_charge_per_kwh + round_trip * storage.wear_discharge_per_kwh) / (1.0 - round_trip)


def cycling_steps(storage: Storage, price_per_kwh: FloatArray) -> npt.NDArray[np.bool_]:
    """Steps in which the storage needs a binary at this price, array (steps,)."""
    return np.asarray(price_per_kwh < cycling_price_per_kwh(storage))


def check_tariff(tariff: Tariff) -> None:
    """Feed-in above the purchase price would make buying and selling at once pay.

    Raises ControllerError naming the first such slot.
    """
    wrong = np.flatnonzero(tariff.export_per_kwh > tariff.import_per_kwh)
    if wrong.size:
        slot = int(wrong[0])
        raise ControllerError(
            f"feed-in {tariff.export_per_kwh[slot]:.6f} exceeds purchase price {tariff.import_per_kwh[slot]:.6f}",
            where=f"tariff slot {slot}",
            mend="twostage needs export_per_kwh <= import_per_kwh in every slot",
        )
