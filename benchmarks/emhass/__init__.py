"""EMHASS (MIT), the energy management of Home Assistant, on the same homes and days as ours: a yardstick.

Its package lives in an environment of its own (`make emhass`) and is asked through a pipe; nothing imports it.
"""
