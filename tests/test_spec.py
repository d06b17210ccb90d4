"""The model spec survives its trip through ONNX metadata and refuses what it cannot mean."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeyolo.errors import ModelError
from edgeyolo.spec import Head, ModelSpec, Preprocess

HEAD = Head(
    kind="yolo", output="head_16", stride_wh=(32, 32), anchors_wh=((81.0, 82.0), (135.0, 169.0)), classes=80
)
SPEC = ModelSpec(
    task="detect",
    input_name="images",
    input_wh=(416, 320),
    batch=None,
    names=("person", "größe"),
    preprocess=Preprocess(),
    outputs="decoded",
    heads=(HEAD,),
    provenance={"cfg_sha256": "00"},
)


def test_metadata_round_trip_is_exact_and_json() -> None:
    metadata = SPEC.to_metadata()
    assert all(key.startswith("edgeyolo.") for key in metadata)
    assert json.loads(metadata["edgeyolo.input_wh"]) == [416, 320]
    assert ModelSpec.from_metadata({**metadata, "other": "kept out"}) == SPEC


def test_no_metadata_is_none_not_an_error() -> None:
    assert ModelSpec.from_metadata({"producer": "somebody"}) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "segment"}, "task: one of detect, classify expected"),
        ({"outputs": "boxes"}, "outputs: one of"),
        ({"input_wh": [416]}, "missing or has a wrong value"),
        ({"preprocess": {"resize": "squash"}}, "resize: one of letterbox"),
        ({"preprocess": {"mean": [0.0]}}, "3 values expected for rgb, 1 found"),
        ({"preprocess": {"std": [1, 0, 1]}}, "std: a value other than 0"),
        ({"preprocess": {"pad_value": 300}}, "0..255 expected, 300 found"),
        ({"preprocess": {"colour": "rgb"}}, "missing or has a wrong value"),
        ({"heads": [{}]}, "missing or has a wrong value"),
        ({"names": 3}, "missing or has a wrong value"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        ModelSpec.from_json({**SPEC.to_json(), **change})


def test_metadata_that_is_not_json_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="JSON expected"):
        ModelSpec.from_metadata({"edgeyolo.task": "detect"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda item: st.lists(item, max_size=4) | st.dictionaries(st.text(max_size=8), item, max_size=4),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(SPEC.to_json())), _JSON))
def test_nothing_but_a_model_error_comes_out(change: dict[str, Any]) -> None:
    with contextlib.suppress(ModelError):
        ModelSpec.from_json({**SPEC.to_json(), **change})
