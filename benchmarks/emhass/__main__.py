"""`python -m benchmarks.emhass [--start DAY] [--days N]`: measured days of homes.yaml by EMHASS, beside the rules."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from pathlib import Path

from benchmarks.emhass.mechanism import Held, Metered, SiteMetered, simulate_emhass
from benchmarks.figures import table
from benchmarks.ideal import measured
from benchmarks.runs import HOMES
from controller.baseline import no_control, rule
from controller.forecast import SimilarDays
from controller.foresight import Site, perfect_foresight
from twin.sweep.choice import Span
from twin.sweep.ground import LOOP_S, Ground


def main() -> None:
    """Print costs, and the time EMHASS took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.emhass", description=__doc__)
    parser.add_argument("--site", type=Path, default=HOMES)
    parser.add_argument("--start", default="2016-10-11", help="local date")
    parser.add_argument("--days", type=int, default=1)
    asked = parser.parse_args()
    ground = measured(asked.site, Span(asked.start, asked.days), LOOP_S)
    scene, costs = ground.scene, references(ground)
    took = []
    for mechanism in (Metered(), Held(), SiteMetered()):
        began = time.perf_counter()
        with closing(mechanism):
            operation = simulate_emhass(scene, mechanism, SimilarDays())
            assert mechanism.client is not None
            solves, solve_ms = mechanism.client.solves, 1e3 * mechanism.client.cpu_s / mechanism.client.solves
        costs[mechanism.name] = operation.cost(scene.run_tariff).total
        wall = (time.perf_counter() - began) / asked.days
        took.append([mechanism.name, f"{wall:.1f}", str(solves), f"{solve_ms:.0f}", str(mechanism.statuses)])
    worst, best = costs["no control"], costs["perfect foresight (whole site)"]
    rows = [[name, f"{cost:.3f}", f"{(worst - cost) / (worst - best):.1%}"] for name, cost in costs.items()]
    table(("operated by", "cost", "of what foresight saves"), rows)
    table(("EMHASS", "s a day, wall", "solves", "processor ms a solve", "statuses"), took)


def references(ground: Ground) -> dict[str, float]:
    """Costs of no control, the rules at the homes' meters, and perfect foresight without turbines and curtailment."""
    scene, around = ground.scene, ground.rule_prices
    tariff, series, storages = scene.run_tariff, scene.series, scene.storages
    found = {"no control": no_control(series, storages).cost(tariff).total}
    for name in ("selfuse", "tou", "tou_night"):
        found[name] = rule(name, series, storages, around, ground.first_slot).cost(tariff).total
    site = Site(series.site_net_w, tariff, series.slot_s, storages, pv_w=series.site_pv_w)
    return found | {"perfect foresight (whole site)": perfect_foresight(site).bound}


if __name__ == "__main__":
    main()
