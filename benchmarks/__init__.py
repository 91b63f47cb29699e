"""Measured figures, each beside a reference measured in the same run. `python -m benchmarks [name ...]`."""
