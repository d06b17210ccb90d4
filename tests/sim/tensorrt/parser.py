"""The ONNX parser, and its errors as objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.sim.tensorrt.onnx_graph import SUPPORTED, Finding, Graph, Rules, findings
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
        return f"Assertion failed: {self._finding.text}" if self._finding.index >= 0 else self._finding.text

    def file(self) -> str:
        return "onnxOpImporters.cpp" if self._finding.index >= 0 else "ModelImporter.cpp"

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
        self._network, self._logger = network, logger
        self._errors: list[Any] = []
        self._flags = 0
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
        return op_name in SUPPORTED

    def get_used_vc_plugin_libraries(self) -> list[str]:
        return []

    def parse(self, model: Any, path: str | None = None) -> bool:
        graph = self._read(bytes(model), Path(path).parent if path else None)
        if graph is not None and not self._errors:
            self._network._fill(graph)
            return True
        return False

    def parse_from_file(self, model: str) -> bool:
        path = Path(model)
        if not path.is_file():
            return self._refuse(
                None, Finding(-1, "MODEL_DESERIALIZE_FAILED", f"Failed to open file: {model}")
            )
        return OnnxParser.parse(self, path.read_bytes(), model)

    def supports_model(
        self, model: Any, path: str | None = None
    ) -> tuple[bool, list[tuple[list[int], bool]]]:
        return OnnxParser.supports_model_v2(self, model, path), self._subgraphs

    def supports_model_v2(self, model: Any, path: str | None = None) -> bool:
        graph = self._read(bytes(model), Path(path).parent if path else None)
        refused = {error.node() for error in self._errors}
        count = 0 if graph is None else len(graph.model.graph.node)
        self._subgraphs = []
        for index in range(count):
            if not self._subgraphs or self._subgraphs[-1][1] == (index in refused):
                self._subgraphs.append(([], index not in refused))
            self._subgraphs[-1][0].append(index)
        return graph is not None and not refused

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
        except ValueError as exc:
            code = "INVALID_GRAPH" if "open file" in str(exc) else "MODEL_DESERIALIZE_FAILED"
            self._refuse(None, Finding(-1, code, str(exc)))
            return None
        if self._network._implicit_batch():
            text = (
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit "
                "batch dimension. Please ensure the network was created using the EXPLICIT_BATCH "
                "NetworkDefinitionCreationFlag."
            )
            self._refuse(None, Finding(-1, "INVALID_VALUE", text))
            return None
        rules = Rules.of(self._simulation.version)
        for finding in findings(graph, rules):
            self._refuse(graph, finding)
            if not rules.all_errors:
                break
        return graph

    def _refuse(self, graph: Graph | None, finding: Finding) -> bool:
        error = self._simulation.new("ParserError", finding=finding, graph=graph)
        self._errors.append(error)
        if graph is None:
            text = f"ModelImporter.cpp: {finding.text}"
        else:
            node = graph.model.graph.node[finding.index]
            if self._simulation.version < (10,):
                text = (
                    f"While parsing node number {finding.index} [{node.op_type}]:\nERROR: {error.file()} In "
                    f"function {error.func()}:\n[{int(error.code())}] {error.desc()}"
                )
            else:
                text = (
                    f"In node {finding.index} with name: {node.name} and operator: {node.op_type} "
                    f"({error.func()}): {finding.code}: {error.desc()}"
                )
        self._simulation.log(self._logger, "ERROR", text)
        return False
