"""One way to end work early: sleepers and readers wake, and the first reason stays."""

from __future__ import annotations

import os
import signal
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from downloader.cancellation import Cancellation
from downloader.errors import Cancelled, DownloadError, Stalled
from tests.waiting import AT_LAST

if TYPE_CHECKING:
    from collections.abc import Callable

REASON, OTHER = Cancelled(), Stalled("no byte")


def test_nothing_happens_until_it_is_cancelled() -> None:
    cancellation = Cancellation()
    cancellation.check()
    cancellation.sleep(0)
    assert cancellation.reason is None


def test_the_first_reason_stays() -> None:
    cancellation = Cancellation()
    cancellation.cancel(REASON)
    cancellation.cancel(OTHER)
    assert cancellation.reason is REASON
    for action in (cancellation.check, lambda: cancellation.sleep(100)):
        with pytest.raises(Cancelled) as caught:
            action()
        assert caught.value is REASON


def test_sleepers_wake_with_the_reason() -> None:
    cancellation, errors = Cancellation(), list[DownloadError]()

    def sleep() -> None:
        try:
            cancellation.sleep(100)
        except DownloadError as error:
            errors.append(error)

    threads = [threading.Thread(target=sleep) for _ in range(3)]
    for thread in threads:
        thread.start()
    cancellation.cancel(REASON)
    for thread in threads:
        thread.join(AT_LAST)
    assert errors == [REASON] * 3


def test_each_waker_runs_once_and_forgotten_ones_never() -> None:
    cancellation, calls = Cancellation(), list[str]()
    cancellation.on_cancel(lambda: calls.append("kept"))
    forget = cancellation.on_cancel(lambda: calls.append("forgotten"))
    forget()
    forget()
    with cancellation.waking(lambda: calls.append("over")):
        pass
    with cancellation.waking(lambda: calls.append("inside")):
        cancellation.cancel(REASON)
    cancellation.cancel(OTHER)
    assert calls == ["kept", "inside"]


def test_a_thread_that_registers_after_the_cancellation_is_woken_at_once() -> None:
    cancellation, calls = Cancellation(), list[str]()
    cancellation.cancel(REASON)
    forget = cancellation.on_cancel(lambda: calls.append("late"))
    forget()
    with cancellation.waking(lambda: calls.append("later")):
        assert calls == ["late", "later"]


def test_a_waker_may_ask_for_the_reason_and_register_others() -> None:
    cancellation, seen = Cancellation(), list[DownloadError | None]()

    def waker() -> None:
        seen.append(cancellation.reason)
        cancellation.on_cancel(lambda: seen.append(None))

    cancellation.on_cancel(waker)
    cancellation.cancel(REASON)
    assert seen == [REASON, None]


def test_a_waker_that_breaks_keeps_no_thread_asleep() -> None:
    cancellation, calls = Cancellation(), list[str]()

    def broken() -> None:
        raise ValueError("a bug")

    cancellation.on_cancel(broken)
    cancellation.on_cancel(lambda: calls.append("woken"))
    cancellation.cancel(REASON)
    assert calls == ["woken"]


def test_children_end_with_their_parent_for_its_reason() -> None:
    parent = Cancellation()
    child = Cancellation(parent)
    grandchild = Cancellation(child)
    calls: list[str] = []
    grandchild.on_cancel(lambda: calls.append("woken"))
    parent.cancel(REASON)
    assert (child.reason, grandchild.reason, calls) == (REASON, REASON, ["woken"])


def test_a_parent_goes_on_without_its_child() -> None:
    parent = Cancellation()
    child, sibling = Cancellation(parent), Cancellation(parent)
    child.cancel(OTHER)
    assert (parent.reason, sibling.reason) == (None, None)
    parent.cancel(REASON)
    assert (child.reason, sibling.reason) == (OTHER, REASON)


def test_a_child_of_what_has_ended_has_ended() -> None:
    parent = Cancellation()
    parent.cancel(REASON)
    child = Cancellation(parent)
    assert child.reason is REASON
    child.close()


def test_a_child_that_took_leave_is_forgotten() -> None:
    parent = Cancellation()
    child = Cancellation(parent)
    child.close()
    gone = weakref.ref(child)
    del child
    assert gone() is None
    parent.cancel(REASON)
    Cancellation().close()


def test_no_waker_is_lost_in_a_race() -> None:
    for _ in range(50):
        cancellation, woken, ready = Cancellation(), list[int](), threading.Barrier(5)

        def register(number: int, cancellation: Cancellation, woken: list[int], ready: threading.Barrier) -> None:
            ready.wait()
            cancellation.on_cancel(lambda: woken.append(number))

        threads = [threading.Thread(target=register, args=(n, cancellation, woken, ready)) for n in range(4)]
        for thread in threads:
            thread.start()
        ready.wait()
        cancellation.cancel(REASON)
        for thread in threads:
            thread.join()
        assert sorted(woken) == [0, 1, 2, 3]


def test_of_many_reasons_at_once_all_threads_see_the_same() -> None:
    cancellation, seen = Cancellation(), set[int]()
    ready = threading.Barrier(4)

    def cancel() -> None:
        ready.wait()
        cancellation.cancel(Stalled("x"))
        seen.add(id(cancellation.reason))

    threads = [threading.Thread(target=cancel) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1


def test_a_signal_handler_may_cancel_whatever_other_threads_are_doing() -> None:
    """The handler runs in the main thread, between any two of its steps; others may be registering meanwhile."""
    cancellation, stop = Cancellation(), threading.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: cancellation.cancel(REASON))

    def busy() -> None:
        forget: Callable[[], None]
        while not stop.is_set():
            forget = cancellation.on_cancel(lambda: None)
            forget()

    threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(Cancelled):
            cancellation.sleep(AT_LAST)
    finally:
        stop.set()
        signal.signal(signal.SIGUSR1, before)
    for thread in threads:
        thread.join(AT_LAST)
        assert not thread.is_alive()
