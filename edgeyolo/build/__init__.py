"""Building engines: an ONNX file becomes what one backend runs, with a sidecar that says what it is."""

from __future__ import annotations

from edgeyolo.build.builder import BackendChoice, build, choose_backend
from edgeyolo.build.trt_options import DeviceFeed, TensorRTOptions
from edgeyolo.build.trt_profiles import Batches

__all__ = ["BackendChoice", "Batches", "DeviceFeed", "TensorRTOptions", "build", "choose_backend"]
