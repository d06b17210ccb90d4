"""``--web``: the page that shows a run, and what programs ask of it.

pictures   the newest of each camera, encoded once      address     HOST:PORT, names, the socket
streams    the two forms in which they are sent         access      token, cookie, guesses
board      state, detections, events, history           guard       what is refused, headers
feed       server-sent events                           messages    requests, answers, limits
metrics    Prometheus                                   connection  time limits of one connection
zones      rules of events, drawn                       server      uvicorn in its thread
routes     the addresses                                sink        all of it as a Sink
"""

from __future__ import annotations

from edgeyolo.show.web.sink import WebConfig, WebSink
from edgeyolo.show.web.zones import ZoneDesk

__all__ = ["WebConfig", "WebSink", "ZoneDesk"]
