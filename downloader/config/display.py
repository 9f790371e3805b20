"""The settings of what is drawn on a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from downloader.config.env import Malformed, present, variable

AUTO, BAR, PLAIN, NONE = PROGRESS = ("auto", "bar", "plain", "none")


def progress(text: str) -> str:
    """Parse AIM_PROGRESS."""
    if text.lower() not in PROGRESS:
        raise Malformed(f"one of {', '.join(PROGRESS)}")
    return text.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplaySettings:
    """How progress is shown on stderr."""

    progress: str = variable(
        "AIM_PROGRESS",
        "`bar` draws progress on a terminal; `plain` logs a line at each change and once in PROGRESS_INTERVAL, as where"
        " there is no terminal; `none` logs only what happens; `auto` draws on a terminal unless CI is set",
        parse=progress,
        default=AUTO,
    )
    no_color: bool = variable("NO_COLOR", "any value: draw without colour", parse=present, default=False)
    ci: bool = variable("CI", "any value: `auto` does not draw", parse=present, default=False)
    terminal: str = variable("TERM", "the kind of terminal; on a `dumb` one nothing is drawn", default="")

    @property
    def draws(self) -> bool:
        """Whether to draw on a terminal."""
        return self.terminal != "dumb" and (self.progress == BAR or (self.progress == AUTO and not self.ci))
