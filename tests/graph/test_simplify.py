"""``edgeyolo simplify``: on real models and on graphs built for one case each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeyolo.errors import GraphError, MismatchError
from edgeyolo.files import sha256_of
from edgeyolo.graph.compare import prove_equal
from edgeyolo.graph.simplify import FOREIGN_PROVENANCE_KEY, node_counts, simplify
from edgeyolo.spec import ModelSpec, Preprocess

pytestmark = pytest.mark.needs("onnx", "onnxruntime", "onnxsim")

SPEC = ModelSpec(
    task="detect",
    input_name="images",
    input_wh=(8, 8),
    batch=1,
    names=("car",),
    preprocess=Preprocess(),
    outputs="decoded",
    provenance={"weights_sha256": "ab"},
)


def model_of(nodes: list, *, batch: int | str = 1, initializers: list | None = None, outputs=("y",)):
    """Build a graph from `images` ``[batch, 3, 8, 8]`` to float outputs of any shape."""
    from onnx import TensorProto, helper

    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, 8, 8])
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, 8, 8]) for name in outputs]
    graph = helper.make_graph(nodes, "test", [image], values, initializers or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)
    model.producer_name = "the test"
    return model


def redundant_model(batch: int | str = 1):
    """Give ``2 images``, with an Identity and a constant that is computed from the shape of another."""
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node("Identity", ["images"], ["same"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["same", "two"], ["y"]),
    ]
    return model_of(nodes, batch=batch, initializers=[numpy_helper.from_array(np.float32(1), "one")])


def save(model, path: Path) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def edgeyolo(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edgeyolo.cli.main import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_removes_what_computes_nothing(tmp_path: Path) -> None:
    import onnx

    source = save(redundant_model(), tmp_path / "in.onnx")
    report = simplify(source, tmp_path / "out.onnx")
    assert report.before == {"Identity": 1, "Add": 1, "Mul": 1}
    assert report.after == {"Mul": 1}
    (difference,) = report.differences
    assert (difference.output, difference.largest) == ("y", 0.0)
    assert 1.9 < difference.range <= 2  # pixels of 0..1 were doubled: the comparison saw real values
    assert node_counts(onnx.load(tmp_path / "out.onnx")) == report.after


def test_metadata_is_kept_and_names_the_source(tmp_path: Path) -> None:
    import onnx

    model = redundant_model()
    for key, value in {**SPEC.to_metadata(), "author": "somebody"}.items():
        model.metadata_props.add(key=key, value=value)
    source = save(model, tmp_path / "in.onnx")
    simplify(source, tmp_path / "out.onnx")
    result = onnx.load(tmp_path / "out.onnx")
    metadata = {item.key: item.value for item in result.metadata_props}
    spec = ModelSpec.from_metadata(metadata)
    assert metadata["author"] == "somebody"
    assert result.producer_name == "the test"
    assert spec is not None
    assert spec.names == SPEC.names
    assert spec.provenance == {"weights_sha256": "ab", "simplified_from_sha256": sha256_of(source)}


def test_foreign_metadata_stays_foreign(tmp_path: Path) -> None:
    import onnx

    model = redundant_model()
    model.metadata_props.add(key="stride", value="32")
    path = save(model, tmp_path / "in.onnx")
    simplify(path, tmp_path / "out.onnx")
    result = onnx.load(tmp_path / "out.onnx")
    found = {item.key: item.value for item in result.metadata_props}
    assert found == {"stride": "32", FOREIGN_PROVENANCE_KEY: sha256_of(path)}


def test_dynamic_batch_stays_dynamic(tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    simplify(save(redundant_model("batch"), tmp_path / "in.onnx"), tmp_path / "out.onnx")
    for item in (lambda g: [*g.input, *g.output])(onnx.load(tmp_path / "out.onnx").graph):
        assert item.type.tensor_type.shape.dim[0].dim_param == "batch"
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    images = np.ones((5, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(session.run(None, {"images": images})[0], 2 * images)


def test_external_data_is_taken_in(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    weights = np.random.default_rng(0).random((3, 3, 3, 3), np.float32)
    nodes = [helper.make_node("Conv", ["images", "weights"], ["y"], pads=[1, 1, 1, 1])]
    model = model_of(nodes, initializers=[numpy_helper.from_array(weights, "weights")])
    source = tmp_path / "in.onnx"
    onnx.save(model, source, save_as_external_data=True, location="in.bin", size_threshold=0)
    assert (tmp_path / "in.bin").exists()
    (tmp_path / "elsewhere").mkdir()
    output = tmp_path / "elsewhere" / "out.onnx"
    simplify(source, output)
    (result,) = onnx.load(output).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(result), weights)
    (tmp_path / "in.bin").unlink()
    with pytest.raises(GraphError, match=r"its tensors lie in in\.bin"):
        simplify(source, output)


def test_refuses_quantized_graphs(tmp_path: Path) -> None:
    from onnx import helper, numpy_helper

    nodes = [
        helper.make_node("QuantizeLinear", ["images", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    source = save(model_of(nodes, initializers=constants), tmp_path / "in.onnx")
    with pytest.raises(GraphError, match="2 nodes of DequantizeLinear, QuantizeLinear") as caught:
        simplify(source, tmp_path / "out.onnx")
    assert "edgeyolo calibrate" in (caught.value.hint or "")
    assert not (tmp_path / "out.onnx").exists()


def test_wrong_result_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxsim
    from onnx import helper, numpy_helper

    three = model_of(
        [helper.make_node("Mul", ["images", "c"], ["y"])],
        initializers=[numpy_helper.from_array(np.float32(2.001), "c")],
    )
    monkeypatch.setattr(onnxsim, "simplify", lambda model, check_n: (three, True))
    with pytest.raises(MismatchError, match="output y: a difference of at most"):
        simplify(save(redundant_model(), tmp_path / "in.onnx"), tmp_path / "out.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["in.onnx"]


def test_changed_interface_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxsim

    monkeypatch.setattr(onnxsim, "simplify", lambda model, check_n: (redundant_model(1), True))
    with pytest.raises(GraphError, match="changed the inputs"):
        simplify(save(redundant_model("batch"), tmp_path / "in.onnx"), tmp_path / "out.onnx")


def test_crash_of_the_simplifier_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxsim

    def crash(model: object, check_n: int) -> None:
        raise RuntimeError("bad luck")

    monkeypatch.setattr(onnxsim, "simplify", crash)
    with pytest.raises(GraphError, match=r"in\.onnx: the simplifier failed: bad luck"):
        simplify(save(redundant_model(), tmp_path / "in.onnx"), tmp_path / "out.onnx")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS"),
        (b"", "an empty file"),
        (b"[net]\nwidth=32\n", "a Darknet cfg"),
        (b"PK\x03\x04zip", "zip archive"),
        (bytes(range(256)) * 4, "an ONNX model expected"),
    ],
)
def test_what_is_no_onnx(content: bytes, said: str, tmp_path: Path) -> None:
    source = tmp_path / "in.onnx"
    source.write_bytes(content)
    with pytest.raises(GraphError, match=said):
        simplify(source, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_truncated_file(tmp_path: Path) -> None:
    source = save(redundant_model(), tmp_path / "in.onnx")
    for length in range(1, source.stat().st_size, 7):
        cut = tmp_path / "cut.onnx"
        cut.write_bytes(source.read_bytes()[:length])
        with pytest.raises(GraphError):
            simplify(cut, tmp_path / "out.onnx")


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no such file"):
        simplify(tmp_path / "absent.onnx", tmp_path / "out.onnx")
    with pytest.raises(GraphError, match="a folder found"):
        simplify(tmp_path, tmp_path / "out.onnx")


def test_prove_equal_names_the_output_that_differs() -> None:
    from onnx import helper, numpy_helper

    def model(factor: float):
        nodes = [
            helper.make_node("Sigmoid", ["images"], ["good"]),
            helper.make_node("Mul", ["images", "factor"], ["bad"]),
        ]
        constant = numpy_helper.from_array(np.float32(factor), "factor")
        return model_of(nodes, initializers=[constant], outputs=("good", "bad"))

    assert [item.largest for item in prove_equal(model(1), model(1))] == [0, 0]
    assert prove_equal(model(1), model(1 + 1e-6))[1].largest == pytest.approx(1e-6, rel=0.2)
    with pytest.raises(MismatchError, match="output bad"):
        prove_equal(model(1), model(1.0002))
    with pytest.raises(MismatchError, match="output bad"):
        prove_equal(model(float("inf")), model(1))


def test_yolox_computes_the_same(shared_data: Path, tmp_path: Path) -> None:
    import onnxruntime

    source = shared_data / "onnx" / "yolox_nano.onnx"
    report = simplify(source, tmp_path / "out.onnx", runs=1)
    assert report.after.total() < report.before.total()
    image = np.random.default_rng(3).integers(0, 256, (1, 3, 416, 416)).astype(np.float32)
    first, second = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
            None, {"images": image}
        )
        for path in (source, tmp_path / "out.onnx")
    )
    np.testing.assert_allclose(first[0], second[0], rtol=1e-4, atol=1e-4)


@pytest.mark.needs("shared-data")
def test_command_line_after_convert(shared_data: Path, tmp_path: Path) -> None:
    import onnx

    pair = [shared_data / "darknet" / f"yoloface-50k.{suffix}" for suffix in ("cfg", "weights")]
    assert edgeyolo("convert", *pair, "-o", tmp_path / "m.onnx", "--batch", "dynamic").returncode == 0
    done = edgeyolo("simplify", tmp_path / "m.onnx", "-o", tmp_path / "s.onnx")
    assert done.returncode == 0, done.stderr
    assert "output boxes: largest difference" in done.stdout
    assert "Conv " in done.stdout
    before, after = (onnx.load(tmp_path / name) for name in ("m.onnx", "s.onnx"))
    onnx.checker.check_model(after, full_check=True)
    assert [item.type for item in before.graph.input] == [item.type for item in after.graph.input]
    assert {item.key for item in before.metadata_props} == {item.key for item in after.metadata_props}
    # The nodes still say which Darknet layer they are.
    assert {"000_convolutional", "000_convolutional_leaky"} <= {node.name for node in after.graph.node}


def test_command_line_on_a_page(tmp_path: Path) -> None:
    page = tmp_path / "m.onnx"
    page.write_text("<html>")
    done = edgeyolo("simplify", page, "-o", tmp_path / "s.onnx")
    assert done.returncode == 2
    assert "HTML" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_simplifier_writes_is_kept_for_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its C++ warns on stderr once for each node of open shape that it cannot fold; none is at fault."""
    import onnxsim

    real = onnxsim.simplify
    warning = b'WARNING: failed to run "Concat" op (name is "c"), skip... no initializer s\n'

    def warn(model: object, check_n: int) -> object:
        os.write(2, warning)
        return real(model, check_n=check_n)

    def fail(model: object, check_n: int) -> None:
        os.write(2, warning)
        raise RuntimeError("bad luck")

    source = save(redundant_model(), tmp_path / "in.onnx")
    monkeypatch.setattr(onnxsim, "simplify", warn)
    simplify(source, tmp_path / "out.onnx")
    monkeypatch.setattr(onnxsim, "simplify", fail)
    with pytest.raises(GraphError, match="bad luck WARNING: failed to run"):
        simplify(source, tmp_path / "out.onnx")
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"
