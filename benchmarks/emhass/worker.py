"""EMHASS's own MPC behind a pipe: JSON lines in, JSON lines out. Run by EMHASS's python, never imported by ours.

    {"op": "configure", "step_s", "steps", "settings": {...}, "batteries": [{...}]}  -> {"version", "homes"}
    {"op": "plan", "buy", "sell", "homes": [{"load_w", "pv_w", "soc_pu"}]}          -> {"homes": [{...}], "cpu_s"}

A request with wrong words or arrays is answered by {"error": text}; any other failure ends the process, with its
traceback on stderr. Arrays hold one value a step; powers in W, prices per kWh.
Settings are keys of EMHASS's config.json; what is not given keeps the default of the installed package.
"""

import asyncio
import json
import logging
import pathlib
import sys
import tempfile
import time
from importlib.metadata import version

import emhass
import numpy as np
import pandas as pd
from emhass import utils
from emhass.optimization import Optimization

ROOT = pathlib.Path(emhass.__file__).parent
START = pd.Timestamp("2000-01-01", tz="UTC")
"""Steps only need an index: forecasts and prices come with the request."""
COSTS = ("unit_load_cost", "unit_prod_price")


def configuration(settings: dict, logger: logging.Logger) -> tuple[dict, dict, dict]:
    """EMHASS's three dictionaries (retrieve_hass, optim, plant) from its defaults and the settings, by its own code."""
    with tempfile.TemporaryDirectory(prefix="emhass-") as folder:
        paths = {
            "root_path": ROOT,
            "data_path": pathlib.Path(folder),
            "config_path": pathlib.Path(folder) / "config.json",
            "defaults_path": ROOT / "data" / "config_defaults.json",
            "associations_path": ROOT / "data" / "associations.csv",
        }
        paths["config_path"].write_text(json.dumps(settings), encoding="utf-8")

        async def build() -> dict:
            config = await utils.build_config(paths, logger, str(paths["defaults_path"]), str(paths["config_path"]))
            return await utils.build_params(paths, {}, config, logger)

        parsed = utils.get_yaml_parse(asyncio.run(build()), logger)
    return parsed[0] | {"time_zone": "UTC"}, parsed[1], parsed[2]


def battery_settings(battery: dict) -> dict:
    """A battery in EMHASS's words.

    EMHASS limits the power on the cells' side of the efficiency (charging at the terminals: limit / efficiency,
    discharging: limit * efficiency), so the ratings at the terminals are converted. Its weights are costs per kWh at
    the terminals, as our wear is.
    """
    return {
        "battery_nominal_energy_capacity": battery["e_wh"],
        "battery_charge_power_max": battery["p_charge_w"] * battery["eta_charge"],
        "battery_discharge_power_max": battery["p_discharge_w"] / battery["eta_discharge"],
        "battery_charge_efficiency": battery["eta_charge"],
        "battery_discharge_efficiency": battery["eta_discharge"],
        "battery_minimum_state_of_charge": battery["soc_min_pu"],
        "battery_maximum_state_of_charge": battery["soc_max_pu"],
        "weight_battery_charge": battery["wear_charge_per_kwh"],
        "weight_battery_discharge": battery["wear_discharge_per_kwh"],
    }


class Home:
    """One home's optimisation, built once; each plan only sets its parameters."""

    def __init__(self, step_s: int, steps: int, settings: dict, logger: logging.Logger) -> None:
        fixed = {
            "optimization_time_step": step_s // 60,
            "delta_forecast_daily": steps * step_s / 86_400,
            "set_use_battery": True,
            "set_use_pv": True,
            "number_of_deferrable_loads": 0,
            "num_threads": 1,
        }
        retrieve, optim, plant = configuration(settings | fixed, logger)
        self.steps, self.soc_target = steps, float(plant["battery_target_state_of_charge"])
        self.soc_limits = (plant["battery_minimum_state_of_charge"], plant["battery_maximum_state_of_charge"])
        self.index = pd.date_range(START, periods=steps, freq=pd.Timedelta(seconds=step_s))
        paths = {"root_path": ROOT, "data_path": ROOT / "data"}
        self.optimisation = Optimization(
            retrieve, optim, plant, *COSTS, optim["costfun"], paths, logger, num_timesteps=steps
        )

    def plan(self, request: dict, buy: list, sell: list) -> dict:
        """One naive MPC solve. soc_final defaults to the configured target state of charge, as in EMHASS."""
        prices = pd.DataFrame({COSTS[0]: buy, COSTS[1]: sell}, index=self.index)
        rows = [pd.Series(request[name], index=self.index) for name in ("pv_w", "load_w")]
        low, high = self.soc_limits
        soc = min(max(request["soc_pu"], low), high)
        found = self.optimisation.perform_naive_mpc_optim(
            prices, *rows, self.steps, soc_init=soc, soc_final=self.soc_target
        )
        status = str(self.optimisation.optim_status)
        if "P_batt" not in found:
            return {"status": status, "p_batt_w": [], "p_grid_w": [], "soc_pu": []}
        columns = {"p_batt_w": "P_batt", "p_grid_w": "P_grid", "soc_pu": "SOC_opt"}
        return {"status": status} | {name: np.round(found[column], 6).tolist() for name, column in columns.items()}


def answer(request: dict, homes: list[Home], logger: logging.Logger) -> dict:
    """The reply to one request; `configure` replaces the homes."""
    if request["op"] == "configure":
        common = request["settings"]
        homes[:] = [
            Home(request["step_s"], request["steps"], common | battery_settings(battery), logger)
            for battery in request["batteries"]
        ]
        return {"version": version("emhass"), "homes": len(homes)}
    if request["op"] == "plan":
        began = time.process_time()
        pairs = zip(homes, request["homes"], strict=True)
        plans = [home.plan(one, request["buy"], request["sell"]) for home, one in pairs]
        return {"homes": plans, "cpu_s": time.process_time() - began}
    raise ValueError(f"no operation {request['op']!r}")


def main() -> None:
    """Answer line by line until the input ends."""
    logger = logging.getLogger("emhass")
    logger.setLevel(logging.ERROR)
    logger.addHandler(logging.StreamHandler(sys.stderr))
    out, sys.stdout = sys.stdout, sys.stderr
    homes: list[Home] = []
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), homes, logger)
        except (KeyError, TypeError, ValueError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
