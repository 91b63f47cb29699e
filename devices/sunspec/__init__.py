"""SunSpec: register plans compiled from the published model files, and images of whole devices."""

from devices.sunspec.fitting import fit_model, plan_of
from devices.sunspec.image import SunSpecImage
from devices.sunspec.schema import ModelPlan, PointPlan, compile_model

__all__ = ["ModelPlan", "PointPlan", "SunSpecImage", "compile_model", "fit_model", "plan_of"]
