"""Meeting a device for the first time: who it is, which way its sign goes, how it answers to orders."""

from devices.commission.identify import Identity, identify
from devices.commission.selftest import Verdict, self_test

__all__ = ["Identity", "Verdict", "identify", "self_test"]
