"""Ctrl-C that is not lost: process pools may swallow a KeyboardInterrupt or turn it into an error of their own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def remembered() -> Iterator[threading.Event]:
    """Set once Ctrl-C was pressed, which is handled as before; whatever error follows from it is a KeyboardInterrupt.

    Where Ctrl-C is ignored (a shell's background job) it stays so, and only the main thread may handle signals at all.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        pressed.set()
        before(number, frame)

    handled = callable(before) and threading.current_thread() is threading.main_thread()
    if handled:
        signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    except Exception as error:
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        if handled:
            signal.signal(signal.SIGINT, before)
