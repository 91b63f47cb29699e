"""What all policies of a cell group share: the measured days as a scene, prices around them, the truth, day edges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controller.baseline import SiteSeries
from controller.case import FloatArray, Tariff
from controller.closed_loop import TAIL_SLOTS, WINDOW_SLOTS, Scene
from twin import assets, realised
from twin.exits import UsageError
from twin.feed import Feed
from twin.realised import STEP_S
from twin.site.schema import Site
from twin.site.start import start_refusal
from twin.span import DAY_US, instant_us
from twin.sweep.choice import Span
from twin.sweep.past import recorded_past
from twin.sweep.setting import Setting

LOOP_S = 300
"""Step of the ideal meter loop."""
AHEAD_SLOTS = WINDOW_SLOTS + TAIL_SLOTS
"""Slots after a span that its last plans look at."""


@dataclass(frozen=True, slots=True)
class Ground:
    """One span under one seed and one setting. Plain values: it travels to other processes and machines."""

    scene: Scene
    edges: tuple[int, ...]
    """First slot of each local day, and the end."""
    dates: tuple[str, ...]
    rule_prices: FloatArray
    """Import price from a day before the span to a day after it, for the rules."""
    truth: Mapping[str, FloatArray]
    """Slot means from the span's start to AHEAD_SLOTS after its end, as the scene names them."""

    @property
    def first_slot(self) -> int:
        """Index of the span's first slot in rule_prices."""
        return DAY_US // self.scene.slot_us


def check_span(site: Site, feed: Feed, span: Span) -> None:
    """Refuse a span without data: a day before it, and what its last plans look at after it. Raises UsageError."""
    assert feed.dataset is not None, "a sweep's site has data"
    edges = _edges_us(site, span)
    refusal = start_refusal(feed.dataset.span_us, edges[0], site.zone)
    if refusal is not None:
        raise UsageError(refusal[0], where=f"--spans {span.start}:{span.days}", mend=f"start {refusal[1]}")
    end_us = edges[-1] + AHEAD_SLOTS * site.time.slot_s * 1_000_000
    if end_us > feed.dataset.span_us[1]:
        raise UsageError(
            "the data end before the span's last plan looks ahead",
            where=f"--spans {span.start}:{span.days}",
            mend="end it two days before the data do",
        )


def grounds(
    site: Site, feed: Feed, span: Span, settings: tuple[Setting, ...], step_s: int = LOOP_S
) -> dict[str, Ground]:
    """The span's days in steps of the meter loop under each setting, by its name; demand and PV are computed once."""
    edges_us = _edges_us(site, span)
    slot_us = site.time.slot_s * 1_000_000
    edges = tuple((edge - edges_us[0]) // slot_us for edge in edges_us)
    start_us, slots = edges_us[0], edges[-1]
    parties, load_w, pv_w = realised.powers(site, feed.power_w, start_us, slots + AHEAD_SLOTS)
    flexible = realised.flexible_demand(site, feed.power_w, start_us, slots + AHEAD_SLOTS)
    per_slot = site.time.slot_s // STEP_S
    truth = {}
    for k, party in enumerate(parties):
        truth[f"pv/{party}"] = _means(pv_w[k], per_slot)
        mine = sum((f.demand_w for f in flexible if f.party == party), np.zeros(slots + AHEAD_SLOTS))
        truth[f"load/{party}"] = _means(load_w[k], per_slot) - mine
    truth |= {f"flex/{f.id}": f.demand_w for f in flexible}
    steps = slots * per_slot
    series = SiteSeries(
        parties,
        _means(load_w[:, :steps], step_s // STEP_S),
        _means(pv_w[:, :steps], step_s // STEP_S),
        step_s,
        site.time.slot_s,
    )
    known = recorded_past(site, feed, start_us)
    found = dict[str, Ground]()
    day = DAY_US // slot_us
    for setting in settings:
        # a day ahead planned at the last gate looks a day beyond the span
        around = setting.tariff(feed, start_us - DAY_US, slots + 2 * day + AHEAD_SLOTS)
        scene = Scene(
            id=site.id,
            start_us=start_us,
            series=series,
            parties=site.parties,
            storages=tuple(assets.storage(site, spec) for spec in site.devices if spec.kind == "storage"),
            tariff=Tariff(around.import_per_kwh[day:], around.export_per_kwh[day:]),
            past=known,
            turbines=tuple(assets.turbine(site, spec) for spec in site.devices if spec.kind == "turbine"),
            flexible=tuple(assets.flexible_load(site, site.device(f.id), f.demand_w[:slots]) for f in flexible),
            zone=site.zone,
            feeder=setting.feeder,
            gates=edges[:-1],
        )
        prices = around.import_per_kwh[: slots + 2 * day]
        found[setting.name] = Ground(scene, edges, span.dates, prices, truth)
    return found


def _means(rows: FloatArray, per: int) -> FloatArray:
    return np.asarray(rows.reshape(*rows.shape[:-1], -1, per).mean(axis=-1))


def _edges_us(site: Site, span: Span) -> tuple[int, ...]:
    """Local midnights of the span's days and of its end."""
    first = dt.date.fromisoformat(span.start)
    return tuple(instant_us(first + dt.timedelta(days=k), site.zone) for k in range(span.days + 1))
