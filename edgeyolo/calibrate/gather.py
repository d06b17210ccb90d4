"""What a user calls "my pictures" becomes a manifest: folder, glob, list file, COCO json, video, manifest.

Owns the search for files and nothing else: whether a file is a good picture is `check`'s question. Every
file that was named and is not there, or cannot be read, is a finding; nothing is left out in silence.
"""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeyolo.calibrate.manifest import Item, Manifest, is_manifest, read_manifest
from edgeyolo.errors import CalibrationError, EmptyManifestError, SourceError
from edgeyolo.files import sha256_of
from edgeyolo.optional import require
from edgeyolo.vision.images import IMAGE_SUFFIXES, is_image_path

__all__ = ["Finding", "Gathered", "gather"]

_VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".wmv"})
_MAX_LIST_BYTES = 256 << 20
_EXPECTED = "a folder, a glob, a list file, a COCO .json, a manifest or a video expected"


@dataclass(frozen=True)
class Finding:
    """Something that a user should know of a picture.

    Args:
        kind: ``missing``, ``unreadable``, ``duplicate`` (left out); ``near_duplicate``, ``dark``, ``flat``,
            ``blurred`` (kept).
        name: The picture, relative to the manifest's root.
        text: What was found, with its number where there is one.
    """

    kind: str
    name: str
    text: str


@dataclass(frozen=True)
class Gathered:
    """What was found where the user pointed.

    Args:
        manifest: Every file that could be hashed, copies of one file too.
        findings: Files that were named and could not.
        described: The source in words, for the report.
    """

    manifest: Manifest
    findings: tuple[Finding, ...]
    described: str


def gather(source: str, *, every: int | None = None) -> Gathered:
    """Find the pictures that a user means.

    Args:
        source: A folder (searched with all its subfolders), a glob (``**`` too), a text file with one path
            a line (relative to the list's folder, else to the working folder), a COCO ``.json`` (pictures
            beside it, or in the folder that its name tells), a manifest, a video, or one picture.
        every: Take every n-th frame of a video; one frame a second by default.

    Returns:
        The manifest and what could not be read.

    Raises:
        CalibrationError: `source` is nothing of the above, or a manifest's file has changed.
        EmptyManifestError: There is no picture in it.
        SourceError: A video cannot be opened.
    """
    if every is not None and every < 1:
        raise CalibrationError(f"--every: 1 or more expected, {every} found")
    path = Path(source)
    if path.is_dir():
        gathered = _from_files(path, _walk(path), f"folder {source}")
    elif glob.has_magic(source) and not path.exists():
        gathered = _from_glob(source)
    elif not path.is_file():
        found = "a pipe or a device" if path.exists() else "nothing of that name"
        raise CalibrationError(f"{source}: {_EXPECTED}, {found} found")
    elif is_image_path(path):
        gathered = _from_files(path.parent, [path], f"picture {source}")
    elif path.suffix.lower() in _VIDEO_SUFFIXES:
        gathered = _from_video(path, every)
    elif path.suffix.lower() == ".json":
        gathered = _from_coco(path)
    else:
        gathered = _from_text(path)
    if not gathered.manifest.items:
        raise _empty(source, gathered.findings)
    return gathered


def _empty(source: str, findings: Sequence[Finding]) -> EmptyManifestError:
    unread = "".join(f"\n  {finding.name}: {finding.text}" for finding in findings[:5])
    return EmptyManifestError(
        f"{source}: no readable picture in it ({', '.join(sorted(IMAGE_SUFFIXES))} in any case){unread}",
        hint=(
            "paths in a list or a manifest are looked for beside it and from the working folder"
            if any(finding.kind == "missing" for finding in findings)
            else "point at the folder that your pictures are in; subfolders are searched too"
        ),
    )


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(parent)
        if here in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if is_image_path(name))


def _from_glob(pattern: str) -> Gathered:
    found = [Path(name) for name in glob.glob(pattern, recursive=True)]
    return _from_listed([path for path in found if is_image_path(path)], f"glob {pattern}")


def _from_text(path: Path) -> Gathered:
    if path.stat().st_size > _MAX_LIST_BYTES:
        raise CalibrationError(f"{path}: {_EXPECTED}, a file of {path.stat().st_size} bytes found")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as exc:
        raise CalibrationError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    if "\0" in text:
        raise CalibrationError(f"{path}: {_EXPECTED}, a binary file found")
    if is_manifest(text):
        return _from_manifest(path)
    lines = [line.strip() for line in text.splitlines()]
    named = [Path(line) for line in lines if line and not line.startswith("#")]
    return _from_listed([_resolved(entry, path.parent) for entry in named], f"list {path}")


def _resolved(entry: Path, folder: Path) -> Path:
    """Find a list's entry beside the list; where it is not there, from the working folder as Darknet does."""
    beside = folder / entry
    return entry if not beside.exists() and entry.exists() else beside


def _from_manifest(path: Path) -> Gathered:
    """Find a manifest's pictures beside it, or from the working folder as ``sha256sum -c`` does."""
    manifest = read_manifest(path)
    if not any(manifest.file_of(item).exists() for item in manifest.items):
        manifest = Manifest(Path(), manifest.items)
    files = sorted({manifest.file_of(item) for item in manifest.items})
    found = _from_files(manifest.root, files, f"manifest {path}")
    now = {item.path: item.sha256 for item in found.manifest.items}
    for item in manifest.items:
        if now.get(item.path, item.sha256) != item.sha256:
            raise CalibrationError(
                f"{manifest.file_of(item)}: sha256 {item.sha256[:12]}… expected by {path}, "
                f"{now[item.path][:12]}… found: the file has changed",
                hint="restore it, or calibrate from the folder to make a new manifest",
            )
    kept = (item for item in manifest.items if item.path in now)
    return Gathered(Manifest.of(manifest.root, kept), found.findings, found.described)


def _from_coco(path: Path) -> Gathered:
    try:
        names = [str(image["file_name"]) for image in json.loads(path.read_bytes())["images"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as exc:
        raise CalibrationError(
            f"{path}: a COCO file with images[].file_name expected, {type(exc).__name__}: {exc} found"
        ) from exc
    folders = list(_coco_folders(path))
    best = max(folders, key=lambda folder: sum((folder / name).is_file() for name in names))
    if names and not any((best / name).is_file() for name in names):
        raise EmptyManifestError(
            f"{path}: {names[0]} and the others are in none of {', '.join(map(str, folders))}",
            hint="put the pictures beside the json, or name their folder instead of the json",
        )
    return _from_listed([best / name for name in names], f"COCO {path}")


def _coco_folders(path: Path) -> Iterator[Path]:
    """Give the places where datasets keep the pictures of ``instances_train2017.json``."""
    stem = path.stem.split("_", 1)[-1]
    for parent in (path.parent, path.parent.parent):
        yield from (parent / stem, parent / "images" / stem, parent / "images", parent)


def _from_listed(paths: list[Path], described: str) -> Gathered:
    """Root a list at the deepest folder that holds all that is there."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    there = [path.parent for path in whole if os.path.exists(path)]
    root = Path(os.path.commonpath(there)) if there else Path()
    return _from_files(root, whole, described)


def _from_files(root: Path, files: Iterable[Path], described: str) -> Gathered:
    items, findings = [], []
    for file in files:
        name = (file.relative_to(root) if file.is_relative_to(root) else file).as_posix()
        try:
            if not stat.S_ISREG(file.stat().st_mode):  # reading a pipe would wait for a writer
                findings.append(Finding("unreadable", name, "a file expected, a pipe or device found"))
                continue
            items.append(Item(name, -1, sha256_of(file)))
        except FileNotFoundError:
            findings.append(Finding("missing", name, "no such file"))
        except OSError as exc:
            findings.append(Finding("unreadable", name, exc.strerror or str(exc)))
        except ValueError as exc:  # a NUL in a name of a COCO file
            findings.append(Finding("unreadable", name, str(exc)))
    return Gathered(Manifest.of(root, items), tuple(findings), described)


def _from_video(path: Path, every: int | None) -> Gathered:
    cv2 = require("cv2", why="to read videos")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise SourceError(f"{path}: OpenCV {cv2.__version__} cannot open it as a video")
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = _frame_count(capture, promised=float(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()
    step = every or max(1, round(fps) if 0 < fps < 1000 else 25)
    digest = sha256_of(path)
    items = (Item(path.name, frame, digest) for frame in range(0, count, step))
    return Gathered(Manifest.of(path.parent, items), (), f"video {path}, {count} frames, every {step}th")


def _frame_count(capture: Any, *, promised: float) -> int:
    """Believe the container's frame count, or count where it has none."""
    if 0 < promised < 1e9:
        return int(promised)
    count = 0
    while capture.grab():
        count += 1
    return count
