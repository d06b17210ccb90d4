"""Rewriting ONNX graphs: any YOLO's, not only those that come from Darknet."""
