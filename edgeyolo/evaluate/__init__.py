"""How right a model is: mean average precision on pictures with ground truth.

Owns ground truth files and the measure. Takes a model as a callable, so that it knows no engine.
"""

from __future__ import annotations

__all__: list[str] = []
