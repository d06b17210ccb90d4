"""``edgeyolo inspect``: what a file is."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(_inspect)


def _inspect(
    target: Annotated[str, typer.Argument(metavar="FILE", help="A file, or a built-in name such as yolov3.")],
    layers: Annotated[
        bool, typer.Option("--layers", help="Each layer of a TensorRT engine too; on its device.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a file is: cfg, weights, ONNX model, engine, scales, TensorRT cache, manifest, rules."""
    import json

    from edgeyolo.pipeline.inspect import inspect, with_layers
    from edgeyolo.pipeline.inspect_text import lines_from_facts

    facts = inspect(target)
    if layers:
        facts = with_layers(facts)
    typer.echo(json.dumps(facts) if as_json else "\n".join(lines_from_facts(facts)))
