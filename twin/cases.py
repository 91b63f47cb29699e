"""Builds the Case that a mechanism plans from: site, prices, forecasts from the past, measured state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from controller.case import Asset, Case, FloatArray, Tariff
from controller.errors import ControllerError
from controller.forecast import Forecast, forecaster
from controller.forecast import History as Past
from controller.plan import Plan, Stage
from devices.readings import ProcessImage
from twin import assets
from twin.assets import TurbineRuns
from twin.history import History
from twin.network import limits_at
from twin.site.schema import Site
from twin.span import DAY_US, Gate

WINDOW_SLOTS = 16
"""Intraday horizon, 4 h in steps of 15 min (paper 003, section 3)."""

PricesBetween = Callable[[int, int], Tariff]
"""(start_us, slots) -> import and export prices."""


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger offers to the mechanisms."""

    onchain_rate: float | None = None
    """Share of requests so far that its rules settled by themselves; None before the first."""
    reputation: Mapping[str, float] = field(default_factory=dict)


class CaseBuilder:
    """Knows the site and where to look; each call builds one case from what is known at that moment."""

    def __init__(
        self,
        site: Site,
        history: History,
        prices: PricesBetween,
        image: Callable[[], ProcessImage],
        turbines: TurbineRuns,
        *,
        max_age_s: float,
        keep: Callable[[Forecast, int], None] | None = None,
        ledger: Callable[[], LedgerFacts] = LedgerFacts,
    ) -> None:
        """`image` gives the newest process image, `ledger` its facts; `keep(forecast, issued_us)` stores a forecast."""
        self._site, self._history, self._prices = site, history, prices
        self._image, self._turbines, self._max_age_s, self._keep = image, turbines, max_age_s, keep
        self._slot_us = site.time.slot_s * 1_000_000
        self._gate, self._limits_at = Gate.of(site), limits_at(site)
        self._forecaster = forecaster(site.forecast.method, intervals=site.forecast.intervals)
        self._last_soc: dict[str, float] = {}
        self._ledger = ledger

    def build(self, t_us: int, stage: Stage, day_ahead: Plan | None) -> Case:
        """The case of a plan that starts at `t_us`. Raises ControllerError where a series has no past at all."""
        slots = WINDOW_SLOTS
        if stage == "day_ahead":
            slots = int((self._gate.next_us(t_us) - t_us) // self._slot_us)
        tail = int(DAY_US // self._slot_us)
        forecast = self._forecast(min(t_us, self._history.end_us), t_us, slots + tail)
        prices = self._prices(t_us, slots + tail)
        site = self._site
        nothing = np.zeros(slots + tail)
        loads = {party.id: forecast.get(f"load/{party.id}", nothing) for party in site.parties if party.role != "grid"}
        found, steered = self._assets(forecast, t_us, slots)
        facts = self._ledger()
        network = site.network
        # A day is planned by what always holds; a window by what holds when its first slot, which is applied, begins.
        limits_w = self._limits_at(t_us) if stage == "intraday" else (network.import_max_w, network.export_max_w)
        return Case(
            onchain_rate=facts.onchain_rate,
            reputation=facts.reputation,
            site=site.id,
            start_us=t_us,
            slot_s=site.time.slot_s,
            parties=site.parties,
            assets=found,
            load_w={party: row[:slots] for party, row in loads.items()},
            tariff=Tariff(prices.import_per_kwh[:slots], prices.export_per_kwh[:slots]),
            import_max_w=limits_w[0],
            export_max_w=limits_w[1],
            day_ahead=day_ahead if stage == "intraday" else None,
            tail=Tariff(prices.import_per_kwh[slots:], prices.export_per_kwh[slots:]),
            tail_net_w={party: row[slots:] + steered.get(party, 0.0) for party, row in loads.items()},
        )

    def look_back(self) -> None:
        """Let the forecaster learn from the past what the first case would wait for: seconds, before anybody listens.

        A past that gives no forecast is the first case's to report.
        """
        with suppress(ControllerError):
            self._said(self._history.end_us, 1)

    def _said(self, issue_us: int, slots: int) -> Forecast:
        history, slot_s = self._history, self._site.time.slot_s
        kinds = {name: "pv" if name.startswith("pv/") else "load" for name in history.rows}
        past = Past(history.start_us, slot_s, history.rows, kinds, self._site.zone)  # type: ignore[arg-type]
        return self._forecaster.forecast(past, issue_us, slots, slot_s)

    def _forecast(self, issue_us: int, t_us: int, slots: int) -> dict[str, FloatArray]:
        """Expected mean power of every series from `t_us` on, from what was measured before `issue_us`."""
        ahead = int((t_us - issue_us) // self._slot_us)
        forecast = self._said(issue_us, slots + ahead)
        if self._keep is not None:
            self._keep(forecast, issue_us)
        return {name: row[ahead:] for name, row in forecast.mean.items()}

    def _assets(
        self, forecast: dict[str, FloatArray], t_us: int, slots: int
    ) -> tuple[tuple[Asset, ...], dict[str, FloatArray]]:
        """(assets, net load of flexible loads and PV after the horizon per party)."""
        found: list[Asset] = []
        after: dict[str, FloatArray] = {}
        image, site = self._image(), self._site
        for spec in site.devices:
            if spec.kind == "storage":
                unit = assets.with_soc(site, spec, image, self._max_age_s, self._last_soc)
                self._last_soc[spec.id] = unit.soc_pu
                found.append(unit)
            elif spec.kind == "turbine":
                found.append(assets.turbine(site, spec, self._turbines.runs.get(spec.id), t_us))
            elif spec.kind in ("pv", "load"):
                row, sign = (
                    (forecast[f"pv/{spec.id}"], -1.0) if spec.kind == "pv" else (forecast[f"flex/{spec.id}"], 1.0)
                )
                found.append(
                    assets.pv(spec, row[:slots]) if spec.kind == "pv" else assets.flexible_load(site, spec, row[:slots])
                )
                after[spec.party] = after.get(spec.party, 0.0) + sign * row[slots:]
        return tuple(found), after
