"""What a pool of storages is worth: a stochastic dynamic program over its content, and the orders that follow."""

from controller.pool.program import Curves, Pool, Stages, worth_curves
from controller.pool.supply import Supply

__all__ = ["Curves", "Pool", "Stages", "Supply", "worth_curves"]
