"""How the commands that speak to a service end. docs/cli.md has the same table; a test compares."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes, for scripts."""

    DONE = 0
    """What was asked was done."""
    JUDGED_AGAINST = 1
    """A job failed, was canceled or expired, or its verdict is one of those that `--fail-on` names."""
    REFUSED = 2
    """The command line or the request does not fit."""
    NOT_FOUND = 3
    """Nothing of that id is visible to this key."""
    FORBIDDEN = 4
    """No valid API key, or one without the scope that this takes."""
    UNREACHABLE = 5
    """The service does not answer, or cannot take it now."""
    TIMED_OUT = 6
    """What was waited for did not come in time."""
    INTERRUPTED = 130
    """Ctrl-C."""


WORST_FIRST = (Exit.FORBIDDEN, Exit.UNREACHABLE, Exit.REFUSED, Exit.NOT_FOUND, Exit.TIMED_OUT, Exit.JUDGED_AGAINST)
"""Of several ends of one command, the first of these is the one that a script should know of."""
_OF_STATUS = {401: Exit.FORBIDDEN, 403: Exit.FORBIDDEN, 404: Exit.NOT_FOUND, 410: Exit.NOT_FOUND}
_OF_CODE = {"source_not_allowed": Exit.REFUSED}
"""403 as well, but no fault of the key: another source may be allowed."""
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


def of_problem(status: int, code: str) -> Exit:
    """What an answer that is no success means."""
    if status >= _SERVER_ERRORS or status == _TOO_MANY_REQUESTS:
        return Exit.UNREACHABLE
    return _OF_CODE.get(code) or _OF_STATUS.get(status, Exit.REFUSED)


def worst(ends: Iterable[Exit]) -> Exit:
    """The one that counts; DONE where nothing went wrong."""
    met = set(ends)
    return next((end for end in WORST_FIRST if end in met), Exit.DONE)
