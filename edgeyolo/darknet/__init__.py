"""Darknet's own files: cfg to layers, weights to arrays, both to ONNX."""
