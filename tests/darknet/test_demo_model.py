"""The shipped demo model in Darknet itself: the same boxes from the same pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeyolo.camera.scene import render_scene
from edgeyolo.darknet.convert import convert
from edgeyolo.spec import Preprocess
from edgeyolo.vision.preprocess import Preprocessor
from tests.reference import libdarknet

ASSETS = Path(__file__).resolve().parents[2] / "edgeyolo" / "assets"


@pytest.mark.needs("libdarknet", "onnx", "onnxruntime", "opencv")
def test_darknet_itself_sees_what_the_converted_demo_model_sees(tmp_path):
    import onnxruntime as ort

    convert(ASSETS / "demo.cfg", ASSETS / "demo.weights", tmp_path / "demo.onnx")
    prepare = Preprocessor(Preprocess(), (416, 320))
    tensor = np.empty(prepare.shape, np.float32)
    prepare(render_scene(6 * 10**9)[0], tensor)
    session = ort.InferenceSession(str(tmp_path / "demo.onnx"), providers=["CPUExecutionProvider"])
    boxes, scores = session.run(["boxes", "scores"], {"images": tensor[None]})
    cfg = libdarknet.cfg_for(ASSETS / "demo.cfg", tmp_path)
    expected_boxes, expected_scores = libdarknet.boxes_and_scores(cfg, ASSETS / "demo.weights", tensor, 8)
    assert scores.max() > 0.5, "a picture in which the model finds something"
    np.testing.assert_allclose(boxes[0], anchors_first(expected_boxes), rtol=0, atol=1e-3)
    np.testing.assert_allclose(scores[0], anchors_first(expected_scores), rtol=0, atol=1e-5)


def anchors_first(rows):
    """Bring a head's rows from Darknet's order, three anchors a cell, into ours: the cells of each anchor."""
    heads = np.split(rows, [3 * 20 * 26])
    return np.concatenate(
        [head.reshape(-1, 3, rows.shape[1]).swapaxes(0, 1).reshape(-1, rows.shape[1]) for head in heads]
    )
