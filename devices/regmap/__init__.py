"""Declarative register maps: one YAML file per model of hardware, checked on loading, read and written by name."""

from devices.regmap.loader import load_map, shipped_maps
from devices.regmap.map import Block, Control, MapPoint, RegisterMap, Write

__all__ = ["Block", "Control", "MapPoint", "RegisterMap", "Write", "load_map", "shipped_maps"]
