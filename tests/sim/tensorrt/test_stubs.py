"""The stubs that mypy checks the package with: NVIDIA's names and signatures, of all generations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.parts import PROJECT

STUB = PROJECT / "typings" / "tensorrt" / "__init__.pyi"
USE = """
import tensorrt as trt

def build(builder: trt.Builder, network: trt.INetworkDefinition) -> memoryview:
    config = builder.create_builder_config()
    if config is None:
        raise MemoryError
    config.set_flag(trt.BuilderFlag.INT8)  # gone in 11
    config.progress_monitor = None  # there from 10
    for index in range(network.num_layers):
        network.get_layer(index).set_output_type(0, trt.DataType.FLOAT)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(plan)
    assert engine is not None
    print(tuple(engine.get_tensor_shape("images")), engine.get_tensor_mode("images").name)
    return memoryview(plan)
"""
MISTAKES = {
    "config.set_flag(": ("config.set_flags(", 'has no attribute "set_flags"'),
    "BuilderFlag.INT8": ("BuilderFlag.INT9", 'has no attribute "INT9"'),
    "raise MemoryError": ("pass", 'Item "None" of "IBuilderConfig | None" has no attribute'),
    "set_output_type(0, ": ("set_output_type(", "Missing positional argument"),
    "trt.Logger.ERROR": ("1", 'incompatible type "int"'),
    "assert plan is not None": ("", 'incompatible type "IHostMemory | None"'),
    "return memoryview(plan)": ("network.num_inputs = 1", "is read-only"),
}


def _tool() -> ModuleType:
    path = PROJECT / "tools" / "tensorrt_stubs.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_stub_is_that_of_the_surfaces() -> None:
    tool = _tool()
    assert STUB.read_text() == tool.stubs(tool.read_surfaces()), (
        "run python tools/tensorrt_stubs.py typings/tensorrt/__init__.pyi"
    )


@pytest.mark.needs("mypy")
def test_mypy_sees_what_is_right_and_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mypy import api

    monkeypatch.setenv("MYPYPATH", str(STUB.parent.parent))
    (tmp_path / "right.py").write_text(USE)
    for number, (right, (wrong, _)) in enumerate(MISTAKES.items()):
        assert right in USE
        (tmp_path / f"wrong_{number}.py").write_text(USE.replace(right, wrong, 1))
    options = ["--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    report, trouble, _ = api.run([*options, str(tmp_path)])
    assert trouble == ""
    lines = report.splitlines()
    assert [line for line in lines if "right.py" in line or ".pyi" in line] == []
    for number, (_, said) in enumerate(MISTAKES.values()):
        assert any(f"wrong_{number}.py" in line and said in line for line in lines), (said, report)
