"""Send what is due, each receiver at its own pace.

A receiver that is dead or slow delays nobody else: it may hold one request at a time, endpoints that fail or are slow
share half of the threads at most, one that goes on failing is left alone (schedule.circuit_pause), and nobody waits for
the slowest before taking up what has become due since. What this may get wrong: an endpoint is only known to be dead
after its first failure, so several that die at the same moment can together hold nearly all threads once, for the
length of one timeout.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

import structlog

from styleflow.database import Database
from styleflow.egress import Answer, Egress
from styleflow.errors import ConfigurationError, JobError
from styleflow.webhooks.due import AttemptOutcome, ClaimedDelivery, claim, drop, record
from styleflow.webhooks.payload import as_sent
from styleflow.webhooks.schedule import read_retry_after, settle
from styleflow.webhooks.signature import signed_headers

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 15.0
CONCURRENCY = 8
_LEASE_MARGIN_SECONDS = 30.0
"""Over the timeout of a request: for recording its end while the database is slow."""
_WAIT_SECONDS = 0.25
_HEADERS = {"content-type": "application/json", "user-agent": "styleflow-webhooks/1"}


class SecretReader(Protocol):
    """What opens an endpoint's stored secret; api_keys.SecretBox does."""

    def open(self, sealed: bytes) -> str:
        """The secret. Raises ConfigurationError when it was sealed under another key."""
        ...


@dataclass(frozen=True)
class Room:
    """How many deliveries may be started to endpoints that answer, and to endpoints that fail."""

    answering: int
    failing: int


def room(concurrency: int, answering: int, failing: int) -> Room:
    """Split the free threads, given how many are at work for either kind of endpoint.

    Those that fail get half at most, so dead receivers leave room; those that answer leave one free, so that a
    receiver that is back is noticed under any load.
    """
    free = max(0, concurrency - answering - failing)
    return Room(
        answering=min(free, max(0, max(1, concurrency - 1) - answering)),
        failing=min(free, max(0, max(1, concurrency // 2) - failing)),
    )


class Deliverer:
    """Threads that send, kept between calls, so that a call returns while a slow receiver is still being waited for."""

    def __init__(
        self,
        database: Database,
        egress: Egress,
        secrets: SecretReader,
        *,
        concurrency: int = CONCURRENCY,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._database = database
        self._egress = egress
        self._secrets = secrets
        self._concurrency = concurrency
        self._timeout = timeout_seconds
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="webhook")
        self._running: dict[Future[None], bool] = {}
        """What is being sent; the value says whether its endpoint is a failing one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is being sent, a timeout at most, and end the threads."""
        self._pool.shutdown(wait=True)

    def deliver_due(self, limit: int) -> int:
        """Start up to `limit` due deliveries, going on for as long as room and work are found. Returns how many.

        Does not wait for slow ones: 0 means that there was nothing to start, not that nothing is under way. Raises
        what an earlier delivery met, such as a lost database; its lease brings it back.
        """
        started = 0
        while started < limit and (now_started := self._start(limit - started)):
            started += now_started
            self.wait(_WAIT_SECONDS)
        self.wait(0)
        return started

    def wait(self, seconds: float) -> int:
        """Wait until something that is being sent ends, or the time is over. Returns how many are still being sent."""
        done, _ = wait(self._running, seconds, return_when=FIRST_COMPLETED)
        for future in done:
            del self._running[future]
        for future in done:
            future.result()
        return len(self._running)

    def _start(self, limit: int) -> int:
        failing_now = sum(self._running.values())
        space = room(self._concurrency, len(self._running) - failing_now, failing_now)
        if not space.answering and not space.failing:
            return 0
        lease = self._timeout + _LEASE_MARGIN_SECONDS
        with self._database.transaction() as session:
            answering = claim(session, limit=min(limit, space.answering), lease_seconds=lease, failing=False)
            free = self._concurrency - len(self._running) - len(answering)
            left = min(limit - len(answering), space.failing, free)
            failing = claim(session, limit=left, lease_seconds=lease, failing=True)
        for claimed in answering:
            self._running[self._pool.submit(self._deliver, claimed)] = False
        for claimed in failing:
            self._running[self._pool.submit(self._deliver, claimed)] = True
        return len(answering) + len(failing)

    def _deliver(self, claimed: ClaimedDelivery) -> None:
        """One attempt, from signing to its record. No transaction is open while the receiver thinks."""
        if not claimed.body:
            with self._database.transaction() as session:
                drop(session, claimed)
            return
        before = time.monotonic()
        answer, error = self._attempt(claimed)
        elapsed = time.monotonic() - before
        outcome = AttemptOutcome(
            status=answer.status if answer else None,
            error=error,
            latency_ms=round(elapsed * 1000),
            excerpt=answer.excerpt if answer else None,
        )
        asked = read_retry_after(_header(answer, "retry-after"), now=claimed.claimed_at + timedelta(seconds=elapsed))
        jitter = random.random()  # noqa: S311 (it spreads load and guards nothing)
        settlement = settle(outcome.status, claimed.attempt, jitter, asked)
        with self._database.transaction() as session:
            record(session, claimed, outcome, settlement)

    def _attempt(self, claimed: ClaimedDelivery) -> tuple[Answer | None, str | None]:
        """The receiver's answer, or the class of why there is none."""
        try:
            body = as_sent(claimed.body, claimed.payload).encode()
            sealed = [claimed.secret_encrypted, claimed.previous_secret_encrypted]
            secrets = [self._secrets.open(one) for one in sealed if one is not None]
            signed = signed_headers(secrets, claimed.event_id, int(claimed.claimed_at.timestamp()), body)
            return self._egress.post(claimed.url, body, {**_HEADERS, **signed}, self._timeout), None
        except ConfigurationError:
            return None, "secret"
        except JobError as error:
            return None, str(error.details.get("failure", error.code))
        except Exception:
            # Whatever a receiver provokes counts as its attempt: one endpoint must not end delivery for all.
            log.exception("delivery_attempt_broke", delivery_id=claimed.delivery_id)
            return None, "internal"


def deliver_due(
    database: Database,
    egress: Egress,
    secrets: SecretReader,
    limit: int,
    *,
    concurrency: int = CONCURRENCY,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> int:
    """Send up to `limit` due deliveries, and what becomes due meanwhile, and wait for all of them. Returns how many.

    For a single run. A door that delivers for ever keeps one Deliverer, which waits for nobody.
    """
    handled = 0
    with Deliverer(database, egress, secrets, concurrency=concurrency, timeout_seconds=timeout_seconds) as deliverer:
        while True:
            # Asked first: what ends while nothing can be started may free its endpoint for what waits behind it.
            under_way = deliverer.wait(_WAIT_SECONDS)
            started = deliverer.deliver_due(limit - handled)
            handled += started
            if not under_way and not started:
                return handled


def _header(answer: Answer | None, name: str) -> str | None:
    headers: Mapping[str, str] = answer.headers if answer else {}
    return headers.get(name)
