"""What a user of the API does, in the fewest lines: parse, build, load."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import onnx
import pytest

from tests.sim.cuda.fixtures import cuda
from tests.sim.tensorrt.fixtures import tensorrt

__all__ = ["cuda", "tensorrt"]


@pytest.fixture
def logger(tensorrt: ModuleType) -> Any:
    """Give a logger that keeps quiet; what it was told is in ``tensorrt.__simulation__.messages``."""
    return tensorrt.Logger(tensorrt.Logger.INTERNAL_ERROR)


@pytest.fixture
def parsed(tensorrt: ModuleType, logger: Any) -> Callable[..., tuple[Any, Any, Any]]:
    """Give a function: model to (builder, network, config), with an explicit batch."""

    def parse(model: onnx.ModelProto, *, strongly: bool = False) -> tuple[Any, Any, Any]:
        members = tensorrt.NetworkDefinitionCreationFlag.__members__
        wanted = ["EXPLICIT_BATCH"] + ["STRONGLY_TYPED"] * strongly
        flags = sum(1 << int(members[name]) for name in wanted if name in members)
        builder = tensorrt.Builder(logger)
        network = builder.create_network(flags)
        parser = tensorrt.OnnxParser(network, logger)
        assert parser.parse(model.SerializeToString()), parser.get_error(0).desc()
        return builder, network, builder.create_builder_config()

    return parse


@pytest.fixture
def built(parsed: Callable[..., tuple[Any, Any, Any]]) -> Callable[..., Any]:
    """Give a function: model, and what changes the config, to the plan or None."""

    def build(model: onnx.ModelProto, change: Callable[[Any, Any], Any] | None = None, **flags: Any) -> Any:
        builder, network, config = parsed(model, **flags)
        if change is not None:
            change(builder, config)
        return builder.build_serialized_network(network, config)

    return build


@pytest.fixture
def errors(tensorrt: ModuleType) -> Callable[[], str]:
    """Give a function: all errors the logger was told, as one text."""
    messages = tensorrt.__simulation__.messages
    return lambda: "\n".join(text for severity, text in messages if severity == "ERROR")
