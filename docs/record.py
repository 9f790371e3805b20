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
from typing import TYPE_CHECKING

from docs.pictures import FOLDER
from tests.servers.blobs import Noise
from tests.servers.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLUMNS, ROWS = 100, 26
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
CONTROL = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])")


@dataclass
class Screen:
    """What a terminal shows that understands as much as this program uses."""

    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0

    def feed(self, text: str) -> None:
        """Take output: text, carriage returns, line feeds, movements of the cursor and erasures."""
        while text:
            control = CONTROL.match(text)
            if control:
                self._control(int(re.sub(r"\D", "", control[1]) or 0), control[2])
                text = text[control.end() :]
                continue
            self._put(text[0])
            text = text[1:]

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self.column = 0
        elif letter == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif letter.isprintable():
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    def _control(self, number: int, verb: str) -> None:
        if verb == "K":
            kept = "" if number else self.lines[self.row][: self.column]
            self.lines[self.row] = kept
        elif verb == "A":
            self.row = max(0, self.row - (number or 1))
        elif verb == "J":
            self.lines = [*self.lines[: self.row], self.lines[self.row][: self.column]]

    def shown(self) -> tuple[str, ...]:
        """Return the last rows, as wide as the terminal."""
        return tuple(line[:COLUMNS].rstrip() for line in self.lines)[-ROWS:]


@dataclass
class Recording:
    """Frames with the time at which each appears, in seconds."""

    screen: Screen = field(default_factory=Screen)
    frames: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    clock: float = 0.0

    def show(self, text: str, seconds: float) -> None:
        """Feed the screen, let time pass, and keep a frame if there is something new and some time has passed."""
        self.screen.feed(text)
        shown = self.screen.shown()
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
                text = os.read(parent, 1 << 16).decode() if ready else ""
            except OSError:  # Linux: the other side is closed
                break
            if ready and not text:
                break
            self.show(text, passed if ready else passed / 4)
            percentages = re.findall(r"(\d+) %", "\n".join(self.screen.lines[-3:]))
            if not killed and kill_at is not None and max(map(int, percentages), default=0) >= kill_at:
                process.send_signal(signal.SIGKILL)
                killed = True
        os.close(parent)
        status = process.wait()
        if killed:
            self.show("\r\nKilled\r\n", 1.2)
        self.show("", 0.8)
        return status


def svg(frames: Sequence[tuple[float, tuple[str, ...]]], length: float) -> str:
    """Return the frames as an animated SVG; a reader who wants no motion sees the last one."""
    rows = max(len(lines) for _, lines in frames)
    width, height = COLUMNS * 7.83 + 32, rows * 18 + 44
    rules, groups = [], []
    for number, (begins, lines) in enumerate(frames):
        ends = frames[number + 1][0] if number + 1 < len(frames) else length
        first, last = 100 * begins / length, 100 * ends / length
        before = "0%{opacity:0}" if number else ""
        after = f"{last:.3f}%{{opacity:0}}" if number + 1 < len(frames) else "100%{opacity:1}"
        rules.append(f"@keyframes f{number}{{{before}{first:.3f}%{{opacity:1}}{after}}}")
        texts = "".join(
            f'<text x="16" y="{48 + 18 * row}"{_kind(line)}>{escape(line)}</text>'
            for row, line in enumerate(lines)
            if line
        )
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


def _kind(line: str) -> str:
    return ' class="prompt"' if line.startswith("$ ") else ""


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
