"""An ONNX file where an engine is expected: computed as what it is, FP32 or INT8, and said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "opencv")

from edgeyolo.errors import GraphError  # noqa: E402
from edgeyolo.pipeline.calibrate import calibrate  # noqa: E402
from edgeyolo.pipeline.calibration import CalibrateConfig  # noqa: E402
from edgeyolo.pipeline.open_any import open_any  # noqa: E402
from tests.calibrate.pictures import folder_of  # noqa: E402
from tests.calibrate.tiny_detector import write_detector  # noqa: E402
from tests.command import edgeyolo  # noqa: E402


@pytest.fixture
def quantised(tmp_path: Path) -> Path:
    model = write_detector(tmp_path / "m.onnx")
    folder_of(tmp_path / "images", 8, (80, 60))
    calibrate(
        CalibrateConfig(model=model, images=str(tmp_path / "images"), output=tmp_path / "out", method="mse")
    )
    return tmp_path / "out" / "model.int8.onnx"


def test_a_graph_is_opened_in_the_precision_that_it_has(quantised: Path, capsys: Any) -> None:
    model = quantised.parent.parent / "m.onnx"
    for path, precision in ((model, "fp32"), (quantised, "int8")):
        with open_any(path) as engine:
            assert engine.info.precision == precision
        assert f"{precision.upper()} on ONNX Runtime for this once" in capsys.readouterr().err


def test_what_calibrate_wrote_is_compared_with_the_model_without_building_either(quantised: Path) -> None:
    folder = quantised.parent.parent
    found = edgeyolo("compare", folder / "m.onnx", quantised, "--images", folder / "images")
    assert found.returncode == 0, found.stderr
    assert "INT8 on ONNX Runtime" in found.stderr


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.onnx"
    path.write_text("<html>404</html>")
    with pytest.raises(GraphError, match="HTML"):
        open_any(path)
