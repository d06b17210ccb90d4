"""Your own pictures to INT8 scales: gather, check, feed, collect, choose, report.

Owns everything between a model with a folder of pictures and ``scales.json``. Refuses to insert Q/DQ nodes
(`edgeyolo.qdq`) and to build engines.
"""

from __future__ import annotations

__all__: list[str] = []
