"""What a client calls back and what it must be told: protocols whose implementations the composition root injects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class NetworkObserver(Protocol):
    """Callbacks for progress, from any thread. They must return at once and raise nothing.

    Bytes of a range are not reported: its reader knows them, and a call for each read would cost on the hot path.
    """

    def on_request(self, authority: str, /) -> None:
        """Note that a request is about to be sent to this host; the port is named where it is not the scheme's own."""

    def on_bytes(self, count: int, /) -> None:
        """Count bytes that have arrived of a response that is read whole."""

    def on_skipped(self, count: int, /) -> None:
        """Count bytes of a file that a server has sent before those that were asked for, and that no reader sees."""

    def on_response(self) -> None:
        """Count a response that was read whole, whatever its status."""


class FormatEnd(Protocol):
    """Recognizes the end that a file format marks."""

    def update(self, data: memoryview, /) -> None:
        """Take the next bytes of the file."""

    def reached(self) -> bool:
        """Tell whether the bytes so far are a whole file."""


class ContentRules(Protocol):
    """What a file's name says about its content, for servers whose status and length cannot be trusted."""

    def is_suspicious(self, path: str, media_type: str) -> bool:
        """Tell whether a `Content-Type` contradicts the name, as that of a login page does."""

    def end_of(self, path: str) -> FormatEnd | None:
        """Return what recognizes the end of a file of this name; None for formats that do not mark it."""


class Endpoint(Protocol):
    """Where a proxy listens."""

    @property
    def scheme(self) -> str:
        """The protocol it speaks."""

    @property
    def host(self) -> str:
        """Its name or address, IPv6 without brackets."""

    @property
    def port(self) -> int | None:
        """None for the scheme's own."""

    @property
    def authorization(self) -> str:
        """The value of `Proxy-Authorization`; empty for none."""


class ProxySettings(Protocol):
    """Which proxies are configured, as in `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`."""

    @property
    def exceptions(self) -> Sequence[str]:
        """Hosts, domains and networks that are reached directly, in lower case, with or without a port."""

    def named_for(self, scheme: str) -> tuple[str, Endpoint] | None:
        """Return the proxy for a scheme and the variable that names it; None for a direct connection."""


class _NotObserved:
    """Reports nothing."""

    def on_request(self, authority: str, /) -> None:
        """Ignore it."""

    def on_bytes(self, count: int, /) -> None:
        """Ignore it."""

    def on_skipped(self, count: int, /) -> None:
        """Ignore it."""

    def on_response(self) -> None:
        """Ignore it."""


class _AnyContent:
    """Takes any content for any name."""

    def is_suspicious(self, path: str, media_type: str) -> bool:  # noqa: ARG002 - as the protocol has it
        """Find nothing suspicious."""
        return False

    def end_of(self, path: str) -> FormatEnd | None:  # noqa: ARG002
        """Recognize no end."""
        return None


NOT_OBSERVED, ANY_CONTENT = _NotObserved(), _AnyContent()
