"""The fault proxy: TCP in front of any Modbus or MQTT endpoint, emulated or real, that spoils traffic by a script."""

from devices.proxy.proxy import Proxy, Seen
from devices.proxy.script import Fault, Script, ScriptError, load_script

__all__ = ["Fault", "Proxy", "Script", "ScriptError", "Seen", "load_script"]
