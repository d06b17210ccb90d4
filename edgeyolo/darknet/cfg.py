"""The text of a Darknet cfg: sections, options, line numbers.

Owns what is text: encoding, comments, sections, ``key=value``, duplicates. Refuses to know what a section
means (``layers``) or how sections make a network (``network``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgeyolo.errors import CfgError

__all__ = ["MAX_WARNINGS", "Cfg", "Option", "Section", "parse_cfg", "read_cfg"]

# The largest published cfg (darknet's resnet152, yolov4-p6 and the like) has 400 sections and 30 kB.
_MAX_BYTES = 1 << 20
_MAX_SECTIONS = 10_000
MAX_WARNINGS = 100
"""Of one cfg; nobody reads more."""
_NETWORK_KINDS = ("net", "network")


@dataclass(frozen=True, kw_only=True)
class Option:
    """One ``key=value`` line; both without any white space, as Darknet reads them."""

    key: str
    value: str
    line: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """One ``[kind]`` with its options, each key once.

    Args:
        kind: The word in brackets, as written.
        line: Line of the brackets, from 1.
        options: In file order; of a key that came twice the first, as Darknet takes it.
    """

    kind: str
    line: int
    options: tuple[Option, ...]


@dataclass(frozen=True, kw_only=True)
class Cfg:
    """A whole cfg.

    Args:
        source: Path of the file or name of the built-in architecture; for messages.
        net: The ``[net]`` or ``[network]`` section.
        sections: All others: the layers, in order.
        warnings: What was read otherwise than a reader of the file may think, each with its line.
    """

    source: str
    net: Section
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()


def read_cfg(path: Path | str) -> Cfg:
    """Read a cfg file.

    Args:
        path: UTF-8 text.

    Returns:
        Its sections; what they mean is not yet checked (``network_from_cfg`` does).

    Raises:
        CfgError: It cannot be read or is no cfg; the message says which and where.

    Source:
        Darknet ``read_cfg`` (src/parser.c), ``read_option``, ``option_find`` (src/option_list.c), ``strip``
        (src/utils.c).
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise CfgError(f"cannot be read: {exc.strerror or exc}", path=path, hint=_NOT_A_CFG_HINT) from exc
    return parse_cfg(_text_from_bytes(data, path), source=str(path))


def parse_cfg(text: str, *, source: str) -> Cfg:
    r"""Read the text of a cfg.

    Args:
        text: The whole text.
        source: What messages call it.

    Returns:
        Its sections.

    Raises:
        CfgError: A line is neither comment, section nor option; no section; the first is not ``[net]``.

    Examples:
        >>> cfg = parse_cfg("[net]\nwidth = 32\n# stem\n[convolutional]\nfilters=8 # few", source="text")
        >>> [(s.kind, s.line) for s in cfg.sections], cfg.sections[0].options[0].value
        ([('convolutional', 4)], '8')
    """
    headers: list[tuple[str, int]] = []
    options: list[list[Option]] = []
    # Not splitlines(): form feeds and other Unicode line ends are no line ends to Darknet nor to an editor.
    for number, raw in enumerate(text.split("\n"), start=1):
        line = "".join(raw.split())
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            headers.append((_kind(line, number, source), number))
            options.append([])
            if len(headers) > _MAX_SECTIONS:
                raise CfgError(
                    f"at most {_MAX_SECTIONS} sections expected, more found", path=source, line=number
                )
            continue
        if not headers:
            raise CfgError(
                f"a [net] section expected, {_shown(raw)} found",
                path=source,
                line=number,
                hint=_NOT_A_CFG_HINT,
            )
        options[-1].append(_option(line, raw, number, source))
    return _cfg_from_sections(headers, options, source)


_NOT_A_CFG_HINT = "give a Darknet .cfg, which starts with [net]"


def _text_from_bytes(data: bytes, path: Path | str) -> str:
    """Decode, or say what the file is instead of a cfg."""
    head = data[:1024].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CfgError(
            "a Darknet cfg expected, a web page found",
            path=path,
            hint="download the raw file, not the page that shows it",
        )
    if b"\0" in data:
        raise CfgError(
            "a Darknet cfg expected, a binary file found",
            path=path,
            hint=f"{_NOT_A_CFG_HINT}; weights come second",
        )
    if len(data) > _MAX_BYTES:
        raise CfgError(
            f"a cfg of at most {_MAX_BYTES >> 20} MiB expected, more found", path=path, hint=_NOT_A_CFG_HINT
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise CfgError(
            f"UTF-8 text expected, byte 0x{data[exc.start]:02x} found",
            path=path,
            line=data.count(b"\n", 0, exc.start) + 1,
            hint=f"iconv -f GB18030 -t UTF-8 {path} > utf8.cfg   (or whatever encoding its comments have)",
        ) from exc


def _kind(line: str, number: int, source: str) -> str:
    match = re.fullmatch(r"\[([^\[\]]+)\]([#;].*)?", line)
    if not match:
        raise CfgError(
            f"a section such as [convolutional] expected, {_shown(line)} found", path=source, line=number
        )
    return match[1]


def _option(line: str, raw: str, number: int, source: str) -> Option:
    key, equals, value = line.partition("=")
    if not equals or not key:
        raise CfgError(f"key=value expected, {_shown(raw)} found", path=source, line=number)
    # Darknet keeps a comment behind a value, and atoi() stops there; a word such as `leaky#` would be lost.
    return Option(key=key, value=re.split("[#;]", value, maxsplit=1)[0], line=number)


def _cfg_from_sections(headers: list[tuple[str, int]], options: list[list[Option]], source: str) -> Cfg:
    if not headers:
        raise CfgError("a [net] section expected, no section found", path=source, hint=_NOT_A_CFG_HINT)
    warnings: list[str] = []
    sections = []
    for (kind, line), found in zip(headers, options, strict=True):
        first: dict[str, Option] = {}
        for option in found:
            kept = first.setdefault(option.key, option)
            if kept is not option and len(warnings) < MAX_WARNINGS:
                warnings.append(
                    f"{source}:{option.line}: [{kind}] {option.key} is given twice; "
                    f"{_shown(kept.value)} of line {kept.line} counts, as in Darknet"
                )
        sections.append(Section(kind=kind, line=line, options=tuple(first.values())))
    net, *layers = sections
    if net.kind not in _NETWORK_KINDS:
        raise CfgError(
            f"[net] expected as the first section, [{_short(net.kind)}] found",
            path=source,
            line=net.line,
            hint=_NOT_A_CFG_HINT,
        )
    for section in layers:
        if section.kind in _NETWORK_KINDS:
            raise CfgError(
                f"one [net] section expected, a second one found (the first: line {net.line})",
                path=source,
                line=section.line,
            )
    return Cfg(source=source, net=net, sections=tuple(layers), warnings=tuple(warnings))


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "..."


def _shown(text: str) -> str:
    return repr(_short(text.strip()))
