"""Would NVIDIA's parser and compiler take this graph? Asked of TensorRT-RTX, which needs no GPU.

Owns the question and its report. It is not a Jetson build, and every report says so: TensorRT-RTX is
NVIDIA's compiler for desktop GPUs, with the parser and the typing rules of TensorRT 11. What a board adds to
that comes from rules (`edgeyolo.build.board_rules`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeyolo.boards import Board
from edgeyolo.build.board_rules import Finding, findings_for
from edgeyolo.build.memory_estimate import MemoryEstimate, estimate_memory
from edgeyolo.build.onnx_content import read_model
from edgeyolo.build.trt_log import BuildLog
from edgeyolo.build.trt_network import Network, parse_network
from edgeyolo.build.trt_profiles import Batches, add_profile
from edgeyolo.errors import ParseError
from edgeyolo.optional import require
from edgeyolo.spec import TensorSpec

__all__ = ["NOT_A_JETSON", "CheckReport", "check"]

NOT_A_JETSON = (
    "This is not a Jetson build. The compiler is TensorRT-RTX {version} for desktop GPUs: it proves that the "
    "graph parses and compiles, not what a board's own TensorRT makes of it, and nothing about speed."
)
# The desktop GPU nearest to Orin's SM 8.7; with TensorRT-RTX an engine for Orin or Thor cannot be made.
_COMPUTE_CAPABILITY = "SM86"
# Layers whose sizes depend on data: TensorRT has kernels for them, TensorRT-RTX 1.7 has none (its issue 32).
_NOT_IN_RTX = ("NMS", "NON_ZERO")


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What parser, compiler and rules say.

    Args:
        model: The file.
        board: Short name of the board whose rules were asked; None for none.
        compiler: Package and version.
        parsed: The parser took it.
        compiled: The compiler made a plan; False, too, where it cannot be asked and a finding says so.
        plan_mib: Size of that plan; 0 where there is none.
        layers: Layers of the parsed network.
        inputs: I/O tensors that go in.
        outputs: I/O tensors that come out.
        memory: Estimate for one execution context.
        findings: Refusals first.
        disclaimer: What this does not prove.
    """

    model: str
    board: str | None
    compiler: str
    parsed: bool
    compiled: bool
    plan_mib: float
    layers: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    memory: MemoryEstimate
    findings: tuple[Finding, ...]
    disclaimer: str

    @property
    def passed(self) -> bool:
        """Whether nothing refuses the graph."""
        return self.parsed and all(finding.level != "refused" for finding in self.findings)


def check(path: Path, *, board: Board | None = None) -> CheckReport:
    """Parse and compile a graph, and judge it by a board's rules.

    Args:
        path: An ONNX file.
        board: Whose rules; None for those of every TensorRT.

    Raises:
        MissingDependencyError: TensorRT-RTX or onnx is not installed.
        GraphError: The file cannot be read.
    """
    trt = require("tensorrt_rtx", why="to ask NVIDIA's parser and compiler")
    model = read_model(path)
    findings = list(findings_for(model, board))
    memory = estimate_memory(model)
    del model
    log = BuildLog()
    network, plan_mib = _parsed(trt, path, log, findings), 0.0
    if network is not None:
        plan_mib = _compiled_mib(trt, network, log, findings)
    order = {"refused": 0, "warning": 1, "note": 2}
    return CheckReport(
        model=str(path),
        board=None if board is None else board.name,
        compiler=f"tensorrt_rtx {trt.__version__}",
        parsed=network is not None,
        compiled=plan_mib > 0,
        plan_mib=plan_mib,
        layers=0 if network is None else network.network.num_layers,
        inputs=() if network is None else network.inputs,
        outputs=() if network is None else network.outputs,
        memory=memory,
        findings=tuple(sorted(findings, key=lambda finding: order[finding.level])),
        disclaimer=NOT_A_JETSON.format(version=trt.__version__),
    )


def _parsed(trt: Any, path: Path, log: BuildLog, findings: list[Finding]) -> Network | None:
    try:
        return parse_network(trt, path, log, strongly_typed=True)
    except ParseError as exc:
        findings.append(Finding("refused", exc.message))
        return None


def _compiled_mib(trt: Any, network: Network, log: BuildLog, findings: list[Finding]) -> float:
    """Compile; give the size of the plan, 0 where there is none."""
    config: Any = network.builder.create_builder_config()  # TensorRT-RTX has more than TensorRT
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, _COMPUTE_CAPABILITY), 0)
    if any(-1 in tensor.shape for tensor in network.inputs):
        add_profile(network, config, Batches(1, 1, 4), log)
    plan = network.builder.build_serialized_network(network.network, config)
    if plan is None:
        findings.append(_no_plan(network, log))
        return 0.0
    return float(plan.nbytes) / (1 << 20)


def _no_plan(network: Network, log: BuildLog) -> Finding:
    layers = [network.network.get_layer(index) for index in range(network.network.num_layers)]
    lacking = sorted({layer.type.name for layer in layers if layer.type.name in _NOT_IN_RTX})
    if lacking:
        return Finding(
            "warning",
            f"not compiled: TensorRT-RTX has no kernel for {', '.join(lacking)}, TensorRT on a board has one",
            "check the model without it, too: edgeyolo adapt --strip-nms, or build with --nms host",
        )
    return Finding("refused", f"the compiler makes no plan of it:\n{log.last()}")
