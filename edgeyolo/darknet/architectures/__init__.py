"""Architectures known by name, each written as a program that states its structure."""

from edgeyolo.darknet.architectures.registry import ARCHITECTURES, architecture

__all__ = ["ARCHITECTURES", "architecture"]
