"""Constants of the mechanism, with units and sources."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user of TwoStage may choose; the defaults suit homes."""

    gamma_storage_per_kw2h: float = 1e-3
    """Price of leaving the day-ahead storage power (model 4, gamma_ES); also makes followers' answers unique."""
    gamma_turbine_per_kw2h: float = 2e-3
    """Price of leaving the day-ahead turbine power (model 4, gamma_MT)."""
    terminal_spread_per_kwh: float = 0.02
    """Without prices after the window: how far the worth of energy falls above the day-ahead state of charge and
    rises below it. Large values make the day-ahead state of charge a hard end."""
    terminal_segments: int = 6
    """With prices after the window: pieces of the concave worth of a storage's content."""
    late_per_kwh: float = 1e-3
    """Among equal costs energy is bought as late as possible (specs/dispatch.md)."""
    day_ahead_nodes_factor: int = 10
    """Branch-and-bound nodes of the day-ahead problem per node of the window's budget: it is solved once a day."""
    strategy: int = 2
    """Day-ahead: 1 everybody alone, 2 direct control of the site, 3 a price game over the day (paper section 5.2)."""
    day_ahead_solver: str = "auto"
    """SCIP, HiGHS, or auto: SCIP while prosumers x slots stay within `scip_size`, HiGHS with tangents above."""
    scip_size: int = 480
    """Ten prosumers over 48 slots; SCIP solved 3 x 24 in 2 s and not 50 x 24 in a minute (specs/optimisation.md)."""
    method: str = "exact"
    """How a window's prices are searched: exact, or a baseline (paper, paper-preset, pso, ga)."""
    window_nodes_above: int = 200
    """A window spends the nodes that its budget grants beyond these on neighbourhoods and certificate; the default
    budget grants none, so that a day of 96 windows stays fast."""
