"""Numbers for Prometheus, named by its conventions.

Owns names, labels and buckets. What happens in every frame is counted as it happens; what the run knows of
itself is asked when it is scraped. Source: https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

import edgeyolo
from edgeyolo.frames import Result
from edgeyolo.live import RunStatus, SourceState, SourceStatus
from edgeyolo.optional import require

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["Metrics"]

# A camera at 30 FPS and a model of 5 ms, to a stream that lags by seconds.
_AGE_S = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)
_STAGE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_UP = frozenset({"live", "ended"})
_STATES = get_args(SourceState)


class Metrics:
    """What ``/metrics`` says.

    Args:
        names: Class names; the index is the class id.
        status: Gives the run's state.
        served: Gives connections and encoded pictures by camera.
    """

    def __init__(
        self,
        names: Sequence[str],
        status: Callable[[], RunStatus],
        served: Callable[[], tuple[int, Counter[str]]],
    ) -> None:
        client = require("prometheus_client", why="for --web")
        self._exposition = require("prometheus_client.exposition", why="for --web")
        self._names = names
        self._registry = client.CollectorRegistry()
        self._age = client.Histogram(
            "edgeyolo_frame_age_seconds",
            "From a picture's capture to its result, waiting included.",
            ["camera"],
            buckets=_AGE_S,
            registry=self._registry,
        )
        self._stage = client.Histogram(
            "edgeyolo_stage_seconds",
            "Time of one stage of one frame.",
            ["stage"],
            buckets=_STAGE_S,
            registry=self._registry,
        )
        self._detections = client.Counter(
            "edgeyolo_detections", "Boxes, or best classes.", ["camera", "label"], registry=self._registry
        )
        self._events = client.Counter(
            "edgeyolo_events",
            "What happened at zones and lines.",
            ["camera", "kind", "where"],
            registry=self._registry,
        )
        self._registry.register(_RunCollector(status, served))
        client.ProcessCollector(registry=self._registry)

    def observe(self, result: Result) -> None:
        """Count one frame."""
        camera = result.frame.camera
        self._age.labels(camera).observe(result.age_ms / 1e3)
        for stage, ms in result.stage_ms.items():
            self._stage.labels(stage).observe(ms / 1e3)
        for class_id, count in Counter(result.output.class_ids.tolist()).items():
            self._detections.labels(camera, self._names[class_id]).inc(count)
        for event in result.events:
            self._events.labels(camera, event.kind, event.where).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Give the text and its content type, in the newest form that the asker takes."""
        encode, content_type = self._exposition.choose_encoder(accept)
        return encode(self._registry), content_type


class _RunCollector:
    """Asks the run when Prometheus asks us."""

    def __init__(
        self, status: Callable[[], RunStatus], served: Callable[[], tuple[int, Counter[str]]]
    ) -> None:
        self._status = status
        self._served = served
        self._core = require("prometheus_client.core", why="for --web")

    def collect(self) -> Iterator[Metric]:
        """Give the families of one scrape."""
        status = self._status()
        yield self._info("edgeyolo_build", "The program.", {"version": edgeyolo.__version__})
        yield self._info("edgeyolo_engine", "The model.", {"engine": status.engine})
        yield self._counter("edgeyolo_engine_restarts", "Loaded again after a fault.", status.engine_restarts)
        yield self._gauge("edgeyolo_uptime_seconds", "Since the run began.", status.uptime_s)
        yield from self._of_sources(status.sources)
        viewers, encoded = self._served()
        yield self._gauge("edgeyolo_web_streams", "Answers of the web page that do not end.", viewers)
        yield self._by_camera("edgeyolo_web_frames_encoded", "JPEGs made for the web page.", encoded)

    def _of_sources(self, sources: Sequence[SourceStatus]) -> Iterator[Metric]:
        yield self._by_camera("edgeyolo_frames", "Frames answered.", {s.camera: s.results for s in sources})
        yield self._by_camera(
            "edgeyolo_frames_captured", "Frames that came.", {s.camera: s.captured for s in sources}
        )
        yield self._by_camera(
            "edgeyolo_frames_dropped", "Passed over for a newer one.", {s.camera: s.dropped for s in sources}
        )
        yield self._by_camera(
            "edgeyolo_reconnects", "Times it became live again.", {s.camera: s.reconnects for s in sources}
        )
        up = self._core.GaugeMetricFamily(
            "edgeyolo_source_up", "1: live, or a file that ended.", labels=["camera"]
        )
        state = self._core.StateSetMetricFamily(
            "edgeyolo_source_state", "How the source is.", labels=["camera"]
        )
        for source in sources:
            up.add_metric([source.camera], float(source.state in _UP))
            state.add_metric([source.camera], {name: name == source.state for name in _STATES})
        yield up
        yield state

    def _by_camera(self, name: str, said: str, values: dict[str, int] | Counter[str]) -> Metric:
        family = self._core.CounterMetricFamily(name, said, labels=["camera"])
        for camera, value in values.items():
            family.add_metric([camera], value)
        made: Metric = family
        return made

    def _counter(self, name: str, said: str, value: float) -> Metric:
        family: Metric = self._core.CounterMetricFamily(name, said, value=value)
        return family

    def _gauge(self, name: str, said: str, value: float) -> Metric:
        family: Metric = self._core.GaugeMetricFamily(name, said, value=value)
        return family

    def _info(self, name: str, said: str, labels: dict[str, str]) -> Metric:
        family: Metric = self._core.InfoMetricFamily(name, said, value=labels)
        return family
