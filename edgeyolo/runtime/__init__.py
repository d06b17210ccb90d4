"""Running an engine: open it, give it pictures, get results."""

from __future__ import annotations

from edgeyolo.runtime.classifier import Classifier
from edgeyolo.runtime.detector import Detector
from edgeyolo.runtime.engine import Engine, open_engine
from edgeyolo.runtime.predictor import Predictor

__all__ = ["Classifier", "Detector", "Engine", "Predictor", "open_engine"]
