"""Building engines: an ONNX file becomes what one backend runs, with a sidecar that says what it is."""

from __future__ import annotations

from edgeyolo.build.builder import BackendChoice, build, choose_backend

__all__ = ["BackendChoice", "build", "choose_backend"]
