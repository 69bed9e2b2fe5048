"""Ctrl-C that is not lost: process pools may swallow a KeyboardInterrupt or turn it into an error of their own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def remembered() -> Iterator[threading.Event]:
    """Set once Ctrl-C was pressed, which raises KeyboardInterrupt as ever; whatever follows from it ends as one too."""
    pressed = threading.Event()

    def press(number: int, frame: FrameType | None) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    main = threading.current_thread() is threading.main_thread()  # the only one that may have a handler
    before = signal.signal(signal.SIGINT, press) if main else None
    try:
        yield pressed
    except Exception as error:
        if pressed.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
