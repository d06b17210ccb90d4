"""What building and running both ask of the module ``tensorrt``, the same in every release.

Owns the adapter to its logger and the question what a plan's layers are. Knows ``tensorrt_rtx`` with the same
interface. Refuses to import either, to keep what is said and to judge it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorrt

__all__ = ["layers_json", "logger_to"]


def logger_to(trt: Any, add: Callable[[str, str], None]) -> Any:
    """Make the object that TensorRT logs to; it must outlive what was made with it.

    Args:
        trt: The module.
        add: Is given severity, such as ``"WARNING"``, and text.
    """

    class Logger(trt.ILogger):  # type: ignore[misc]  # made here: the base exists only where the module does
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants the base's own __init__, not super()

        def log(self, severity: Any, msg: str) -> None:
            add(str(severity.name), msg)

    return Logger()


def layers_json(trt: Any, engine: tensorrt.ICudaEngine) -> str | None:
    """Give what the inspector says of an engine's layers, JSON as far as the release writes it.

    Args:
        trt: The module.
        engine: A loaded plan.

    Returns:
        None where TensorRT makes no inspector.
    """
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return None
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
