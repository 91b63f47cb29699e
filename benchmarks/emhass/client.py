"""Our end of the pipe: one long-lived EMHASS process that plans several homes at once."""

from __future__ import annotations

import json
import selectors
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from benchmarks.emhass.place import MEND, PYTHON, WORKER, EmhassError, installed
from controller.case import FloatArray, Storage

BATTERY = (
    *("e_wh", "p_charge_w", "p_discharge_w", "eta_charge", "eta_discharge", "soc_min_pu", "soc_max_pu"),
    *("wear_charge_per_kwh", "wear_discharge_per_kwh"),
)
"""What EMHASS is told of a storage."""
ANSWER_S = 300.0
"""An EMHASS that is silent for so long is given up."""
Setting = float | int | bool | str


@dataclass(frozen=True, slots=True)
class HomeRequest:
    """One home's forecast and state: mean powers per step, W; state of charge now."""

    load_w: FloatArray
    pv_w: FloatArray
    soc_pu: float


@dataclass(frozen=True, slots=True)
class HomePlan:
    """What EMHASS plans, per step: battery at its terminals (discharge > 0), grid (import > 0), W; soc at step ends."""

    p_battery_w: FloatArray
    p_grid_w: FloatArray
    soc_pu: FloatArray
    status: str


@dataclass(slots=True)
class Client:
    """EMHASS for some homes with one storage each. Use it as a context, or close() it.

    Raises EmhassError where the environment is missing, the process dies or falls silent, or a request is refused.
    """

    storages: Sequence[Storage]
    step_s: int
    steps: int
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Keys of EMHASS's config.json."""
    version: str = field(init=False, default="")
    cpu_s: float = field(init=False, default=0.0)
    """Processor time of EMHASS's plans so far."""
    solves: int = field(init=False, default=0)
    _process: subprocess.Popen[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not installed():
            raise EmhassError(f"EMHASS: its environment is missing; {MEND}")
        command = [str(PYTHON), "-I", str(WORKER)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        batteries = [{name: asdict(storage)[name] for name in BATTERY} for storage in self.storages]
        request = {"op": "configure", "step_s": self.step_s, "steps": self.steps, "settings": dict(self.settings)}
        try:
            self.version = str(self._ask(request | {"batteries": batteries})["version"])
        except EmhassError:
            self.close()
            raise

    def plan(self, homes: Sequence[HomeRequest], buy_per_kwh: FloatArray, sell_per_kwh: FloatArray) -> list[HomePlan]:
        """One plan a home, in the order of the storages; all arrays hold `steps` values."""
        rows = [
            {"load_w": home.load_w.tolist(), "pv_w": home.pv_w.tolist(), "soc_pu": float(home.soc_pu)} for home in homes
        ]
        request = {"op": "plan", "buy": buy_per_kwh.tolist(), "sell": sell_per_kwh.tolist(), "homes": rows}
        reply = self._ask(request)
        self.cpu_s += float(reply["cpu_s"])
        self.solves += len(homes)
        return [_plan(row) for row in reply["homes"]]

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request and its answer."""
        into, out = self._process.stdin, self._process.stdout
        assert into is not None
        assert out is not None
        try:
            into.write(json.dumps(request) + "\n")
            into.flush()
        except (BrokenPipeError, ValueError) as error:
            raise EmhassError(f"EMHASS: its process has ended ({self._process.poll()}); {MEND}") from error
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(ANSWER_S):
                raise EmhassError(f"EMHASS: no answer to {request['op']} within {ANSWER_S:.0f} s; shorten the horizon")
        line = out.readline()
        if not line:
            said = f"ended ({self._process.wait()}) during {request['op']}"
            raise EmhassError(f"EMHASS: its process {said}; see its traceback, or {MEND}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise EmhassError(f"EMHASS refused {request['op']}: {reply['error']}; look at the settings and arrays")
        return reply

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _plan(row: Mapping[str, Any]) -> HomePlan:
    battery, grid, soc = (np.asarray(row[name], dtype=np.float64) for name in ("p_batt_w", "p_grid_w", "soc_pu"))
    return HomePlan(battery, grid, soc, str(row["status"]))
