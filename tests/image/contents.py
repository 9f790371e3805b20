"""What the image weighs, and what in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.image.engine import Docker

LARGEST = 12
MEASURE = "cd /opt/venv/lib/python3*/site-packages && du --bytes --summarize --no-dereference -- *"


def describe(docker: Docker, image: str, base: str) -> str:
    """Return a page on the sizes: the image, its layers above the base, and the largest parts of the environment."""
    whole, foundation = size(docker, image), size(docker, base)
    lines = [f"{image}: {_mb(whole)}, of which the base has {_mb(foundation)} and we add {_mb(whole - foundation)}"]
    lines.append("layers above the base:")
    lines += [f"  {_mb(size):>10}  {step}" for size, step in _layers(docker, image) if size >= 1000]
    parts = _parts(docker, image)
    lines.append(
        f"the {LARGEST} largest of {len(parts)} parts of the environment, which has {_mb(sum(parts.values()))}:"
    )
    largest = sorted(parts, key=lambda name: -parts[name])[:LARGEST]
    lines += [f"  {_mb(parts[name]):>10}  {name}" for name in largest]
    return "\n".join(lines)


def size(docker: Docker, image: str) -> int:
    """Return the bytes of an image with all its layers, unpacked."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", image))


def _layers(docker: Docker, image: str) -> list[tuple[int, str]]:
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", image)
    rows = [line.split("\t", 1) for line in history.splitlines()]
    return [(int(size), step.partition(" # ")[0][:90]) for size, step in rows if step]


def _parts(docker: Docker, image: str) -> dict[str, int]:
    listing = docker("run", "--rm", "--network=none", "--entrypoint=sh", image, "-c", MEASURE)
    return {name: int(size) for size, _, name in (line.partition("\t") for line in listing.splitlines())}


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
