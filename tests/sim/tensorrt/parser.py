"""The ONNX parser, and its errors as objects."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from tests.sim.tensorrt.onnx_graph import Finding, Graph, Rules, findings
from tests.sim.tensorrt.pybind import kept

__all__ = ["OnnxParser", "ParserError"]


class ParserError:
    """`ParserError`."""

    _finding: Finding
    _graph: Graph | None
    _simulation: Any

    def code(self) -> Any:
        return self._simulation.module.ErrorCode.__members__[self._finding.code]

    def desc(self) -> str:
        return self._finding.text

    def file(self) -> str:
        return self._finding.file

    def func(self) -> str:
        return self._finding.function

    def line(self) -> int:
        return 1

    def node(self) -> int:
        return self._finding.index

    def node_name(self) -> str:
        return "" if self._graph is None else self._graph.model.graph.node[self._finding.index].name

    def node_operator(self) -> str:
        return "" if self._graph is None else self._graph.model.graph.node[self._finding.index].op_type

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0

    def __repr__(self) -> str:
        return f"In node {self.node()} ({self.func()}): {self._finding.code}: {self.desc()}"


class OnnxParser:
    """`OnnxParser`."""

    _simulation: Any

    def __init__(self, network: Any, logger: Any) -> None:
        self._network, self._logger = weakref.ref(network), logger
        self._errors: list[Any] = []
        self._flags = 1 if self._simulation.version >= (10,) else 0  # NATIVE_INSTANCENORM
        self._subgraphs: list[tuple[list[int], bool]] = []
        self._config: Any = None

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index] if 0 <= index < len(self._errors) else None

    def clear_errors(self) -> None:
        self._errors = []

    flags = kept("_flags")

    def set_flag(self, flag: Any) -> None:
        self._flags |= 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags &= ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def set_builder_config(self, builder_config: Any) -> bool:
        self._config = builder_config
        return True

    def supports_operator(self, op_name: str) -> bool:
        return op_name in Rules.of(self._simulation.version).operators

    def get_used_vc_plugin_libraries(self) -> list[str]:
        return []

    def parse(self, model: Any, path: str | None = None) -> bool:
        network = self._alive()
        if network._graph is not None:
            text = "ModelImporter.cpp:1170: Parse was called with a non-empty network definition"
            self._simulation.log(self._logger, "ERROR", text)
            return False
        graph = self._read(bytes(model), Path(path).parent if path else None)
        if graph is not None and not self._errors:
            network._fill(graph)
            return True
        return False

    def parse_from_file(self, model: str) -> bool:
        path = Path(model)
        if not path.is_file():
            text = (
                "Assertion failed: stat(onnxModelFile, &sb) == 0 && S_ISREG(sb.st_mode): Input file cannot "
                f"be found, or is not a regular file: {model}"
            )
            self._refuse(None, Finding(-1, "INVALID_VALUE", text, "parseFromFile", "ModelImporter.cpp"))
            return False
        return OnnxParser.parse(self, path.read_bytes(), model)

    def supports_model(
        self, model: Any, path: str | None = None
    ) -> tuple[bool, list[tuple[list[int], bool]]]:
        graph = self._read(bytes(model), Path(path).parent if path else None)
        return self._supported(graph), self._subgraphs

    def supports_model_v2(self, model: Any, path: str | None = None) -> bool:
        """Where it is supported the network is filled, as by `parse`."""
        graph = self._read(bytes(model), Path(path).parent if path else None)
        supported = self._supported(graph)
        if supported:
            self._alive()._fill(graph)
        return supported

    def _supported(self, graph: Graph | None) -> bool:
        refused = {error.node() for error in self._errors}
        count = 0 if graph is None else len(graph.model.graph.node)
        self._subgraphs = []
        for index in range(count):
            if not self._subgraphs or self._subgraphs[-1][1] == (index in refused):
                self._subgraphs.append(([], index not in refused))
            self._subgraphs[-1][0].append(index)
        return graph is not None and not refused

    def _alive(self) -> Any:
        """Give the network, which the parser does not keep: a parser that outlives it crashes the process."""
        network = self._network()
        if network is None:
            text = "a parser was used after its network was gone"
            self._simulation.misuse.append(text)
            raise SystemError(text)
        return network

    @property
    def num_subgraphs(self) -> int:
        return len(self._subgraphs)

    def is_subgraph_supported(self, index: int) -> bool:
        return self._subgraphs[index][1]

    def get_subgraph_nodes(self, index: int) -> list[int]:
        return self._subgraphs[index][0]

    def _read(self, data: bytes, folder: Path | None) -> Graph | None:
        try:
            graph = Graph.load(data, folder)
        except FileNotFoundError as exc:
            self._refuse_weights(*exc.args)
            return None
        except ValueError:
            text = (
                "Assertion failed: model->ParseFromCodedStream(&codedInput): Failed to parse the ONNX model."
            )
            code = "MODEL_DESERIALIZE_FAILED"
            self._refuse(None, Finding(-1, code, text, "deserializeOnnxModel", "onnxProtoUtils.hpp"))
            return None
        if self._alive()._implicit_batch():
            text = (
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit "
                "batch dimension. Please ensure the network was created using the EXPLICIT_BATCH "
                "NetworkDefinitionCreationFlag."
            )
            self._refuse(None, Finding(-1, "INVALID_VALUE", text, "importModel", "ModelImporter.cpp"))
            return None
        for finding in findings(graph, Rules.of(self._simulation.version)):
            self._refuse(graph, finding)
        return graph

    def _refuse_weights(self, tensor: str, file: str) -> None:
        """Refuse external data; the file's name is on the logger alone."""
        self._simulation.log(self._logger, "ERROR", f"WeightsContext.cpp:203: Failed to open file: {file}")
        text = (
            "Failed to import initializer: In node -1 with name:  and operator:  (importInitializers): "
            "UNSUPPORTED_NODE: Assertion failed: ctx->getWeightsContext().convertOnnxWeights(initializer, "
            f"&weights): Failed to import initializer: {tensor}"
        )
        self._refuse(None, Finding(-1, "INVALID_GRAPH", text, "importInitializers", "ModelImporter.cpp"))

    def _refuse(self, graph: Graph | None, finding: Finding) -> None:
        error = self._simulation.new("ParserError", finding=finding, graph=graph)
        self._errors.append(error)
        lines = [
            f"ERROR: {finding.file}:1 In function {finding.function}:\n[{int(error.code())}] {finding.text}"
        ]
        if graph is not None:
            node = graph.model.graph.node[finding.index]
            lines = [
                f'While parsing node number {finding.index} [{node.op_type} -> "{node.output[0]}"]:',
                f"--- Begin node ---\nNode name: {node.name}",
                "--- End node ---",
                *lines,
            ]
        for line in lines:
            self._simulation.log(self._logger, "ERROR", f"ModelImporter.cpp:1: {line}")
