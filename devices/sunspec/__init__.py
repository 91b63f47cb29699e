"""SunSpec: register plans compiled from the published model files, and images of whole devices."""

from devices.sunspec.image import SunSpecImage
from devices.sunspec.schema import ModelPlan, PointPlan, compile_model, fit_model

__all__ = ["ModelPlan", "PointPlan", "SunSpecImage", "compile_model", "fit_model"]
