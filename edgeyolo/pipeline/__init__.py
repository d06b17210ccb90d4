"""Stages put together: the one package that knows more than one of them."""

from __future__ import annotations

__all__: list[str] = []
