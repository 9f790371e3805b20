"""Records docs/pictures/run.svg: the real command in a terminal, killed half-way, resumed and verified.

`python -m docs.record` serves a model on loopback, runs the commands below one after the other in a pseudo-terminal,
and draws what the terminal showed. Nothing is edited but the pauses: without output, time passes four times as fast.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from docs.drawings import FOLDER
from downloader.terminal import ERASE
from tests.servers.blobs import Noise
from tests.servers.hub import Hub
from tests.terminal import Screen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS, ROWS = 100, 26
CELL = 7.83
"""Width of a character."""
MODEL = "org/small-model"
FILES = {
    "config.json": b'{"model_type": "demo"}\n',
    "model-00001-of-00002.safetensors": Noise(40 << 20, seed=1).bytes(),
    "model-00002-of-00002.safetensors": Noise(24 << 20, seed=2).bytes(),
    "tokenizer.json": Noise(300_000, seed=3).bytes(),
}
BANDWIDTH = "12M"
"""So slow that a person can follow."""
KILL_AT = 60
"""Percentage at which the first run is killed."""
LAST = 6.0
"""Seconds that the end stays."""
STEP = 0.2
"""Seconds between frames."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
COLOURS = {"default": "#d6deeb", "cyan": "#21c7a8"}
Frame: TypeAlias = "tuple[tuple[tuple[int, str, str], ...], ...]"
"""The pieces of each row: column, text and colour."""


@dataclass
class Recording:
    """Frames with the time at which each appears, in seconds."""

    screen: Screen = field(default_factory=lambda: Screen(COLUMNS, ROWS))
    frames: list[tuple[float, Frame]] = field(default_factory=list)
    clock: float = 0.0

    def show(self, text: str | bytes, seconds: float) -> None:
        """Feed the screen, let time pass, and keep a frame if there is something new and some time has passed."""
        self.screen.feed(text.encode() if isinstance(text, str) else text)
        shown = tuple(tuple(pieces) for pieces in self.screen.pieces())
        if not self.frames or shown != self.frames[-1][1]:
            if self.frames and self.clock - self.frames[-1][0] < STEP:
                self.frames[-1] = (self.frames[-1][0], shown)
            else:
                self.frames.append((self.clock, shown))
        self.clock += seconds

    def run(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, *, kill_at: int | None = None
    ) -> int:
        """Run a command of ours in a pseudo-terminal, kill it at a percentage if given, and return its status."""
        self.show(f"$ artifact-downloader {' '.join(command)}\r\n", 0.8)
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        program = Path(sys.executable).parent / "artifact-downloader"
        process = subprocess.Popen(
            [program, *command], stdin=child, stdout=child, stderr=child, env=environment, cwd=folder
        )
        os.close(child)
        before, killed = time.monotonic(), False
        while True:
            ready, _, _ = select.select([parent], [], [], STEP)
            now = time.monotonic()
            passed, before = now - before, now
            try:
                text = os.read(parent, 1 << 16) if ready else b""
            except OSError:  # Linux: the other side is closed
                break
            if ready and not text:
                break
            self.show(text, passed if ready else passed / 4)
            percentages = re.findall(r"(\d+) % .*/s", "\n".join(self.screen.rows()))
            if not killed and kill_at is not None and max(map(int, percentages), default=0) >= kill_at:
                process.send_signal(signal.SIGKILL)
                killed = True
        os.close(parent)
        status = process.wait()
        if killed:
            # As zsh and fish do, which clear what is below their prompt.
            self.show(f"{ERASE}killed\r\n\r\n", 1.2)
        self.show("", 0.8)
        return status


def svg(frames: Sequence[tuple[float, Frame]], length: float) -> str:
    """Return the frames as an animated SVG; a reader who wants no motion sees the last one."""
    rows = max(number for _, lines in frames for number, pieces in enumerate(lines, 1) if pieces)
    width, height = COLUMNS * CELL + 32, rows * 18 + 44
    rules, groups = [], []
    for number, (begins, lines) in enumerate(frames):
        ends = frames[number + 1][0] if number + 1 < len(frames) else length
        first, last = 100 * begins / length, 100 * ends / length
        before = "0%{opacity:0}" if number else ""
        after = f"{last:.3f}%{{opacity:0}}" if number + 1 < len(frames) else "100%{opacity:1}"
        rules.append(f"@keyframes f{number}{{{before}{first:.3f}%{{opacity:1}}{after}}}")
        texts = "".join(_drawn(piece, 48 + 18 * row) for row, pieces in enumerate(lines) for piece in pieces)
        style = f"animation:f{number} {length:.2f}s step-end infinite"
        last_one = ' class="last"' if number + 1 == len(frames) else ""
        groups.append(f'<g opacity="{int(bool(last_one))}"{last_one} style="{style}">{texts}</g>')
    style = (
        "text{font:13px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#d6deeb;white-space:pre}"
        ".prompt{fill:#7fdbca;font-weight:600}"
        "@media (prefers-reduced-motion:reduce){g{animation:none!important}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" role="img"'
        ' xml:space="preserve">\n'
        "<title>artifact-downloader in a terminal: killed, resumed, verified</title>\n"
        f"<style>{style}{''.join(rules)}</style>\n"
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#011627"/>\n'
        '<circle cx="20" cy="16" r="5" fill="#ff5f56"/><circle cx="38" cy="16" r="5" fill="#ffbd2e"/>'
        '<circle cx="56" cy="16" r="5" fill="#27c93f"/>\n' + "\n".join(groups) + "\n</svg>\n"
    )


def _drawn(piece: tuple[int, str, str], y: int) -> str:
    """Return a piece of a row: a bar as a rectangle, since fonts do not agree on its characters, or a text."""
    column, text, colour = piece
    fill = COLOURS.get(colour, COLOURS["default"])
    if set(text) <= set(EIGHTHS):
        eighths = sum(map(EIGHTHS.index, text))
        x, width = 16 + column * CELL, eighths * CELL / 8
        return f'<rect x="{x:.1f}" y="{y - 11}" width="{width:.1f}" height="13" fill="{fill}"/>'
    blanks = len(text) - len(text.lstrip())
    kind = ' class="prompt"' if text.startswith("$ ") else ""
    return f'<text x="{16 + (column + blanks) * CELL:.1f}" y="{y}"{kind}>{escape(text.strip())}</text>'


def main() -> int:
    """Record the picture; return the exit status."""
    recording = Recording()
    with tempfile.TemporaryDirectory(prefix="record-") as name, Hub() as hub:
        hub.create(MODEL).commit(FILES)
        folder = Path(name)
        environment = {
            "PATH": os.environ["PATH"], "HOME": name, "HF_ENDPOINT": hub.endpoint, "HF_HOME": f"{name}/.hf",
            "AIM_BANDWIDTH": BANDWIDTH, "PROGRESS_INTERVAL": "0.2", "TERM": "xterm-256color", "HF_HUB_DISABLE_XET": "1",
        }  # fmt: skip
        uri = f"hf://{MODEL}"
        recording.run(["download", uri, "models/small"], environment, folder, kill_at=KILL_AT)
        statuses = [
            recording.run(["download", uri, "models/small"], environment, folder),
            recording.run(["verify", "models/small"], environment, folder),
        ]
    if statuses != [0, 0]:
        sys.stderr.write("a command failed: nothing is recorded\n" + "\n".join(recording.screen.shown()) + "\n")
        return 1
    (FOLDER / "run.svg").write_text(svg(recording.frames, recording.clock + LAST))
    return 0


if __name__ == "__main__":
    sys.exit(main())
