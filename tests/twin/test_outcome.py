"""What a run cost: metered energies at the tariff, fuel, wear, comfort and the worth of what is stored at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from controller.case import FlexibleLoad, Tariff
from devices.readings import Quality, Reading
from ledger.intervals import SlotEnergy
from twin import assets, outcome
from twin.metering import MeteredSlot
from twin.site import Site
from twin.store import Store, StoreReader

SLOT_US, TICK_US = 900_000_000, 60_000_000
TARIFF = Tariff(np.array([0.2, 0.5]), np.array([0.08, 0.08]))


def metered(device: str, taken_wh: int | None = None, given_wh: int | None = None) -> MeteredSlot:
    def energy(wh: int | None) -> SlotEnergy | None:
        return None if wh is None else SlotEnergy(wh, "actual", 0, wh)

    return MeteredSlot(device, 0, "", 15, energy(taken_wh), energy(given_wh))


def book(*slots: Mapping[str, tuple[int | None, int | None]]) -> list[Mapping[str, MeteredSlot]]:
    return [{device: metered(device, *wh) for device, wh in slot.items()} for slot in slots]


IDLE = (0, 0)


def test_import_is_paid_and_export_earns_per_slot(two_homes: Site) -> None:
    # the grid meter's owner is the grid: what it gives is the site's import
    slots = book({"meter-grid": (0, 1500)}, {"meter-grid": (2000, 0)})
    cost = outcome.actual_cost(two_homes, slots, TARIFF, (), {}, ())
    assert cost.import_ == pytest.approx(1.5 * 0.2)
    assert cost.export == pytest.approx(-2.0 * 0.08)
    assert cost.total == pytest.approx(0.3 - 0.16)


def test_a_battery_costs_its_wear_and_what_it_lost_in_charge(two_homes: Site) -> None:
    slots = book({"meter-grid": IDLE, "bat-1": (1000, 0)}, {"meter-grid": IDLE, "bat-1": (0, 400)})
    cost = outcome.actual_cost(two_homes, slots, TARIFF, (), {"bat-1": (0.5, 0.4)}, ())
    assert cost.wear == pytest.approx(0.01 * 1.4)
    assert cost.end_soc == pytest.approx(0.1 * 6.4 * 0.95 * 0.35)
    gained = outcome.actual_cost(two_homes, slots, TARIFF, (), {"bat-1": (0.4, 0.5)}, ())
    assert gained.end_soc == pytest.approx(-cost.end_soc)


def test_a_curtailed_load_costs_its_comfort_and_rounding_costs_nothing(eight_homes: Site) -> None:
    load = FlexibleLoad("flex-13", "home-13", np.array([800.0, 800.0]), 0.5, beta_per_kwh=0.3, beta2_per_kw2h=0.0)
    slots = book({"meter-grid": IDLE, "flex-13": (199, None)}, {"meter-grid": IDLE, "flex-13": (100, None)})
    assert outcome.actual_cost(eight_homes, slots, TARIFF, [load], {}, ()).comfort == pytest.approx(0.1 * 0.3)


def test_a_device_without_a_counter_took_and_gave_nothing() -> None:
    slots = book({"pv-1": (None, 7)}, {"pv-1": (None, None)})
    assert outcome.taken_wh(slots, "pv-1").tolist() == [0, 0]
    assert outcome.given_wh(slots, "pv-1").tolist() == [7, 0]


@pytest.fixture
def stored(tmp_path: Path, t0_us: int) -> Path:
    """Two slots of a turbine that runs for ten minutes over the edge between them, and of a battery with a gap."""
    path = tmp_path / "telemetry.db"
    store = Store(path)
    store.start()
    rows = []
    for tick in range(31):
        p_w = 6000.0 if 10 < tick <= 20 else 0.0
        rows.append(
            (Reading("turbine", t0_us + tick * TICK_US, tick, Quality.GOOD, {"p_w": p_w}), "turbine", bytes(16))
        )
        soc = {} if tick in (0, 30) else {"soc_pu": 0.5 + tick / 1000}
        rows.append((Reading("bat-1", t0_us + tick * TICK_US, tick, Quality.GOOD, soc), "storage", bytes(16)))
    store.write_readings(rows)
    store.close()
    return path


def test_a_turbine_counts_its_ticks_starts_and_stops(eight_homes: Site, stored: Path, t0_us: int) -> None:
    slots = book({"turbine": (None, 500)}, {"turbine": (None, 500)})
    with StoreReader(stored) as reader:
        (use,) = outcome.turbine_uses(eight_homes, slots, reader, t0_us)
    assert use.energy_wh.tolist() == [500, 500]
    np.testing.assert_allclose(use.on_pu, [5 / 15, 5 / 15])
    assert (use.starts, use.stops) == (1, 1)
    assert use.turbine == assets.turbine(eight_homes, eight_homes.device("turbine"))


def test_counted_energy_means_that_a_turbine_was_on_for_a_tick_at_least(
    eight_homes: Site, stored: Path, t0_us: int
) -> None:
    slots = book({"turbine": (None, 500)}, {"turbine": (None, 500)}, {"turbine": (None, 1)})
    with StoreReader(stored) as reader:
        (use,) = outcome.turbine_uses(eight_homes, slots, reader, t0_us)
    assert use.on_pu[2] == pytest.approx(1 / 15)


def test_states_of_charge_are_the_first_and_the_last_that_are_known(two_homes: Site, stored: Path, t0_us: int) -> None:
    with StoreReader(stored) as reader:
        assert outcome.states_of_charge(two_homes, reader, t0_us, t0_us + 30 * TICK_US) == {"bat-1": (0.501, 0.529)}
