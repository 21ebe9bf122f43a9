"""What a call to the service can end with, in one tree below StyleFlowError.

    ClientError
    ├── BadArgument              the call was not sent: an argument cannot be right
    ├── ServiceUnreachable       no whole answer came
    │   └── CallTimeout          not within the time that the caller gives a call
    ├── UnreadableAnswer         an answer came that is not what this address promises
    ├── WaitTimeout              the job or batch was not settled in time; `last` is how it stood
    ├── SignatureRejected        a webhook that does not come from the service, or not now
    └── ApiProblem               the service said no, with a reason
        ├── Invalid              400, 415, 422 and others of 4xx
        ├── Unauthenticated      401
        ├── Forbidden            403
        ├── NotFound             404
        ├── Conflict             409, 412, 428
        ├── Erased               410
        ├── QuotaExceeded        429
        └── ServiceFault         5xx
            └── Unavailable      502, 503, 504

Codes are those of docs/api/errors.md; a code that this version does not know is kept as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from styleflow.errors import StyleFlowError

SHOWN_CHARACTERS = 200
"""Of an answer that could not be read, as much as helps to recognise a proxy's page."""


class ClientError(StyleFlowError):
    """Base of everything that the client raises on purpose."""


class BadArgument(ClientError, ValueError):
    """The call was not sent, because an argument cannot be right."""

    code = "bad_argument"


class ServiceUnreachable(ClientError):
    """The service gave no whole answer."""

    code = "unreachable"
    retryable = True


class CallTimeout(ServiceUnreachable):
    """The service gave no answer within the time of a call."""

    code = "timed_out"


class UnreadableAnswer(ClientError):
    """What came back is not what this address promises: often a proxy's page. `status` is that of the answer."""

    code = "unreadable_answer"

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, status=status)
        self.status = status


class WaitTimeout(ClientError):
    """It was not settled in time. `last` is how the job or batch stood when it was last seen."""

    code = "wait_timeout"
    retryable = True

    def __init__(self, message: str, *, last: Any) -> None:
        super().__init__(message)
        self.last = last


class SignatureRejected(ClientError):
    """The webhook is not from the service, was altered, or is too old or too new."""

    code = "signature_rejected"


class ApiProblem(ClientError):
    """The service said no. `code` says why, `problem` is the whole body (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        """`retry_after` is in seconds, where the answer said so."""
        code = problem.get("code")
        # Of this answer, not of its kind: the one place in the tree where it is so.
        self.code = code if isinstance(code, str) and code else f"http_{status}"  # type: ignore[misc]
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.retryable = problem.get("retryable") is True  # type: ignore[misc]
        self.status = status
        self.problem = problem
        self.retry_after = retry_after
        super().__init__(f"{self.code}: {self.detail}")

    @property
    def request_id(self) -> str | None:
        """Names the request in the service's logs."""
        found = self.problem.get("request_id")
        return found if isinstance(found, str) and found else None

    @property
    def errors(self) -> Sequence[Mapping[str, Any]]:
        """Which members of the request are wrong: `pointer`, `code` and `message` of each."""
        found = self.problem.get("errors")
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


class Invalid(ApiProblem):
    """The request does not fit."""


class Unauthenticated(ApiProblem):
    """No valid API key was sent."""


class Forbidden(ApiProblem):
    """The API key lacks a scope, or the source is not allowed."""


class NotFound(ApiProblem):
    """Nothing of that id is visible to this API key."""


class Conflict(ApiProblem):
    """Its state does not allow this."""


class Erased(ApiProblem):
    """It was erased."""


class QuotaExceeded(ApiProblem):
    """More requests than this project or key may make."""


class ServiceFault(ApiProblem):
    """Something went wrong on the service's side."""


class Unavailable(ServiceFault):
    """The service cannot take it now."""


_KINDS: Mapping[int, type[ApiProblem]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Erased,
    412: Conflict,
    428: Conflict,
    429: QuotaExceeded,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_SERVER_ERRORS = 500


def problem_of(status: int, body: bytes, retry_after: float | None) -> ApiProblem:
    """What an answer that is no success says. Never fails: a proxy's page becomes a problem by its status alone."""
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": f"HTTP {status}, not from the service itself: {excerpt(body)}"}
    kind = _KINDS.get(status) or (ServiceFault if status >= _SERVER_ERRORS else Invalid)
    return kind(status, problem, retry_after=retry_after)


def excerpt(body: bytes) -> str:
    """The start of a body in one line, for a message."""
    text = " ".join(body[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace").split())
    printable = "".join(letter for letter in text if letter.isprintable())
    return printable[:SHOWN_CHARACTERS] or "an empty answer"
