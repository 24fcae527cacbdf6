"""Messages of the package: to the logger ``neuralop_irno``, and from there to whom an application chooses."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

log = logging.getLogger("neuralop_irno")
"""Has no handler but a `logging.NullHandler`; applications, the command line and trainings add theirs."""


class ToTerminal(logging.Handler):
    """Writes messages to standard error, above progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


@contextmanager
def messages_shown(show: bool = True, least: int = logging.INFO) -> Iterator[None]:
    r"""Show messages on standard error in a ``with`` block, unless an application has handlers of its own.

    Args:
        show: False changes nothing.
        least: the level from which messages are shown.

    Example:
        >>> import contextlib, io
        >>> with contextlib.redirect_stderr(io.StringIO()) as shown, messages_shown():
        ...     log.info("precision: float32")
        >>> shown.getvalue()
        'precision: float32\n'
    """
    if not show or _handled():
        yield
        return
    handler, before = ToTerminal(), log.level
    log.addHandler(handler)
    log.setLevel(least)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _handled() -> bool:
    """Whether a handler of an application gets the messages."""
    handlers = [*log.handlers, *(logging.getLogger().handlers if log.propagate else [])]
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)
