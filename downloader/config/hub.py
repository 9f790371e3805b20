"""How the Hugging Face Hub is reached: its address, the switches of its own tools, and where they keep the token."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from downloader.config.addresses import Endpoint, web_endpoint
from downloader.config.env import flag, path, read, token, variable

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from typing import Self

HUB = "https://huggingface.co"
TOKENS = "HF_TOKEN HUGGING_FACE_HUB_TOKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """The Hugging Face Hub."""

    endpoint: Endpoint = variable(
        "HF_ENDPOINT",
        "URL of the Hub, a mirror or a repository manager; `user:password@` in it is sent instead of the token",
        parse=web_endpoint,
        default=Endpoint.parse(HUB),
    )
    token: str = variable(TOKENS, "token for private and gated repositories", parse=token, default="", secret=True)
    token_path: Path | None = variable(
        "HF_TOKEN_PATH",
        "file that contains the token, if HF_TOKEN is unset",
        parse=path,
        default_text="`$HF_HOME/token`, which `hf auth login` writes, or `~/.cache/huggingface/token` without HF_HOME",
    )
    home: Path = variable("HF_HOME", "scratch folder of the Xet client", parse=path, default=Path("/tmp/.hf"))  # noqa: S108
    cache: Path | None = variable(
        "HF_HUB_CACHE HUGGINGFACE_HUB_CACHE",
        "cache of huggingface_hub, for `--hub-cache` without a folder",
        parse=path,
        default_text="`$HF_HOME/hub`, or `~/.cache/huggingface/hub` without HF_HOME",
    )
    disable_symlinks: bool = variable(
        "HF_HUB_DISABLE_SYMLINKS",
        "true: a cache of huggingface_hub gets regular files where it would have symlinks",
        parse=flag,
        default=False,
    )
    offline: bool = variable(
        "HF_HUB_OFFLINE TRANSFORMERS_OFFLINE",
        "true: no request is sent; the run succeeds only if the volume is complete already",
        parse=flag,
        default=False,
    )
    disable_xet: bool = variable("HF_HUB_DISABLE_XET", "true: XET is not used", parse=flag, default=False)
    disable_implicit_token: bool = variable(
        "HF_HUB_DISABLE_IMPLICIT_TOKEN",
        "true: the token of a login is not used",
        parse=flag,
        default=False,
    )
    token_places: tuple[str, ...] = ("HF_TOKEN",)
    """Where a token was looked for, for the message about a missing one: variables and files."""
    warnings: tuple[str, ...] = field(default=())
    """What the environment says that is odd but no obstacle, for the log."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], problems: list[str]) -> Self:
        """Read an environment, and the file with the token where that is how it is given."""
        settings = read(cls, environ, problems)
        settings = replace(settings, cache=_cache(settings.cache, environ))
        warnings: list[str] = []
        if not settings.token:
            place = settings.token_path or (None if settings.disable_implicit_token else _login_file(environ))
            if place is not None:
                found = _token_of(place, problems if settings.token_path else warnings)
                settings = replace(settings, token=found or "", token_places=("HF_TOKEN", str(place)))
                if found is None and settings.token_path:
                    warnings.append(f"HF_TOKEN_PATH names {place}, which is missing, so there is no token")
        if settings.token and settings.endpoint.authorization:
            warnings.append("HF_ENDPOINT has a login in it, which is sent in place of the token")
        return replace(settings, warnings=tuple(warnings))


def _cache(given: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the cache where the Hub's library looks for it; None without a home."""
    base = _home(environ)
    cache = given or (base and base / "hub")
    return cache and Path(Template(str(cache)).safe_substitute(environ))  # as the library does


def _home(environ: Mapping[str, str]) -> Path | None:
    """Return the folder of the Hub's own tools; None without a home."""
    for name, below in (("HF_HOME", ""), ("XDG_CACHE_HOME", "huggingface"), ("HOME", ".cache/huggingface")):
        base = environ.get(name, "").strip()
        if base and "\0" not in base:
            return path(base) / below
    return None


def _login_file(environ: Mapping[str, str]) -> Path | None:
    """Return where the Hub's own command keeps the token of a login; None without a home."""
    home = _home(environ)
    return home and home / "token"


def _token_of(place: Path, problems: list[str]) -> str | None:
    """Return the token in a file, "" if it is empty, None if there is no file; other errors are added to `problems`."""
    try:
        text = place.read_text(encoding="utf-8").strip()
        return token(text) if text else ""
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        why = (error.strerror or "it is out of order") if isinstance(error, OSError) else "it holds no token"
        problems.append(f"{place}, where HF_TOKEN_PATH or a login keeps the token, cannot be read: {why}")
        return ""


def hide_from_library(environ: MutableMapping[str, str]) -> None:
    """Remove the Hub's variables: its library reads them at import, unparsed, and does not start with odd numbers.

    For the environment of the process, after the settings have been read.
    """
    for name in [name for name in environ if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))]:
        del environ[name]
