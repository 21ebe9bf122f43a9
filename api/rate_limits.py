"""How much of its quota a caller has left, in the words of the RateLimit headers, and the 429 when there is none.

Two buckets for each request: the project's, and the key's, so that one runaway script does not use up what its project
has. Reads (GET, HEAD) and writes are counted apart: polling never keeps a caller from submitting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request

from styleflow.api_keys import Principal
from styleflow.errors import QuotaExceeded
from styleflow.rate_limits import Bucket, RateLimiter
from styleflow.settings import Settings
from styleflow.token_bucket import Level, Policy, remaining, seconds_to_next

WINDOW_SECONDS = 60
READS = frozenset({"GET", "HEAD"})


def policies(settings: Settings, method: str) -> tuple[Policy | None, Policy | None]:
    """The project's and the key's policy for a method; None where the installation sets no limit (0)."""
    if method in READS:
        quotas = {"project-reads": settings.project_reads_per_minute, "key-reads": settings.key_reads_per_minute}
    else:
        quotas = {"project-writes": settings.project_writes_per_minute, "key-writes": settings.key_writes_per_minute}
    project, key = (Policy(name, quota, WINDOW_SECONDS) if quota else None for name, quota in quotas.items())
    return project, key


def count(request: Request, limiter: RateLimiter, settings: Settings, principal: Principal) -> None:
    """Take this request out of its caller's buckets and leave the headers for its answer. Raises QuotaExceeded."""
    owners = (principal.project_id, principal.key_id)
    held = zip(owners, policies(settings, request.method), strict=True)
    buckets = [Bucket(owner, policy) for owner, policy in held if policy is not None]
    taken = limiter.take(buckets) if buckets else None
    if taken is None:
        return
    allowed, levels = taken
    limits = [bucket.policy for bucket in buckets]
    request.scope["state"]["answer_headers"] = headers(limits, levels, allowed=allowed)
    if not allowed:
        raise refusal(limits, levels)


def headers(limits: Sequence[Policy], levels: Sequence[Level], *, allowed: bool) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit`. `t` is when one request more is possible; a refusal shows what refused."""
    shown = list(zip(limits, levels, strict=True))
    if not allowed:
        shown = _exhausted(limits, levels)
    return {
        "RateLimit-Policy": ", ".join(f'"{limit.name}";q={limit.quota};w={limit.window_seconds}' for limit in limits),
        "RateLimit": ", ".join(
            f'"{limit.name}";r={remaining(limit, level)};t={seconds_to_next(limit, level)}' for limit, level in shown
        ),
    }


def refusal(limits: Sequence[Policy], levels: Sequence[Level]) -> QuotaExceeded:
    """Names the policies, and waits for the last of them: never earlier than any `t` of the answer."""
    exhausted = _exhausted(limits, levels)
    pause = max(seconds_to_next(limit, level) for limit, level in exhausted)
    names = [limit.name for limit, _ in exhausted]
    allowances = " and ".join(f"{limit.quota} ({limit.name})" for limit, _ in exhausted)
    message = f"More requests a minute than the {allowances} that are allowed; come again in {pause} s."
    return QuotaExceeded(message, retry_after=pause, members={"violated-policies": names})


def _exhausted(limits: Sequence[Policy], levels: Sequence[Level]) -> list[tuple[Policy, Level]]:
    return [(limit, level) for limit, level in zip(limits, levels, strict=True) if remaining(limit, level) == 0]


def described(operation: Mapping[str, object]) -> dict[str, object]:
    """What OpenAPI says of these headers, for each answer of an operation that needs a key."""
    if not operation.get("security"):
        return {}
    return {
        "RateLimit-Policy": {"description": "Quotas (`q`) per window (`w` seconds).", "schema": {"type": "string"}},
        "RateLimit": {
            "description": "Requests left (`r`), and seconds until one more is possible (`t`).",
            "schema": {"type": "string"},
        },
    }
