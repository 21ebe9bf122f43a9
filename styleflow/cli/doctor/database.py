"""What the database says: whether it can be used, and who uses it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from styleflow.cli.doctor import verdicts
from styleflow.cli.doctor.findings import Finding, fail, ok, warn
from styleflow.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

FINDINGS = ("database", "schema", "clock", "secret key", "light worker", "workers", "queues")
CONNECT_SECONDS = 3
STATEMENT_MILLISECONDS = 3000


def database(settings: Settings) -> Sequence[Finding]:
    """A finding for each of FINDINGS."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        with _connection(settings.database_url) as connection:
            return _all(connection, settings)
    except (DBAPIError, SQLAlchemyError) as error:
        reason = in_a_line(str(getattr(error, "orig", None) or error))
        advice = "Start it (`styleflow up` has its own), or mend STYLEFLOW_DATABASE_URL."
        first = fail("database", f"PostgreSQL does not answer: {reason}", advice)
        return [first, *(_unseen(name, settings) for name in FINDINGS[1:])]


def in_a_line(text: str) -> str:
    """What libpq says over several lines, without its question whether the server runs."""
    lines = [line.strip() for line in text.strip().splitlines()]
    return "; ".join(line for line in lines if line and not line.startswith("Is the server running"))[:300]


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    from sqlalchemy import NullPool, create_engine

    told = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"-c statement_timeout={STATEMENT_MILLISECONDS}",
        "application_name": "styleflow-doctor",
    }
    engine = create_engine(url, poolclass=NullPool, connect_args=told)
    with engine.connect() as connection:
        yield connection


def _all(connection: Connection, settings: Settings) -> Sequence[Finding]:
    from sqlalchemy.orm import Session

    first = _usable(connection)
    with Session(connection) as session:
        return [
            first,
            _attempted("schema", session, _schema),
            _attempted("clock", session, _clock),
            _attempted("secret key", session, lambda session: _secret_key(session, settings)),
            _attempted("light worker", session, _light_worker),
            _attempted("workers", session, _workers),
            _attempted("queues", session, lambda session: _queues(session, settings)),
        ]


def _unseen(name: str, settings: Settings) -> Finding:
    if name == "secret key":
        return verdicts.secret_key(len(settings.secret_key.get_secret_value()), None)
    return warn(name, "Not looked at, because the database does not answer.", "")


def _attempted(name: str, session: Session, look: Callable[[Session], Finding]) -> Finding:
    """A table that is not there, or a statement that takes too long, keeps nothing else from being looked at."""
    from sqlalchemy.exc import DBAPIError

    try:
        return look(session)
    except DBAPIError as error:
        session.rollback()
        reason = type(error.orig).__name__ if error.orig else type(error).__name__
        return warn(name, f"The database could not say ({reason}).", "Mend the schema first; then look again.")


def _usable(connection: Connection) -> Finding:
    from sqlalchemy import text

    begun = time.monotonic()
    version, replica = connection.execute(text("select current_setting('server_version'), pg_is_in_recovery()")).one()
    took = 1000 * (time.monotonic() - begun)
    connection.rollback()
    number = str(version).split()[0]
    if replica:
        return fail(
            "database",
            f"PostgreSQL {number} answers, but takes no writes: it is a replica.",
            "Let STYLEFLOW_DATABASE_URL name the primary.",
        )
    return ok("database", f"PostgreSQL {number} answers in {took:.0f} ms and takes writes.")


def _schema(session: Session) -> Finding:
    from sqlalchemy import text

    has_any = session.execute(text("select to_regclass('alembic_version') is not null")).scalar_one()
    found = session.execute(text("select version_num from alembic_version")).scalar() if has_any else None
    return verdicts.schema(found, _expected_revision())


def _expected_revision() -> str | None:
    try:
        from migrations.upgrade import head
    except ImportError:  # an installed wheel has no migrations
        return None
    return head()


def _clock(session: Session) -> Finding:
    from sqlalchemy import text

    before, begun = time.time(), time.monotonic()
    theirs = float(session.execute(text("select extract(epoch from clock_timestamp())")).scalar_one())
    half = (time.monotonic() - begun) / 2
    return verdicts.clock(theirs - (before + half), half)


def _secret_key(session: Session, settings: Settings) -> Finding:
    from sqlalchemy import select

    from styleflow.api_keys import SecretBox
    from styleflow.errors import ConfigurationError
    from styleflow.webhook_tables import WebhookEndpointRow

    secret = settings.secret_key.get_secret_value()
    newest = select(WebhookEndpointRow.secret_encrypted).order_by(WebhookEndpointRow.id.desc()).limit(1)
    readable: bool | None = None
    if len(secret) >= verdicts.SHORT_SECRET and (sealed := session.execute(newest).scalar()) is not None:
        try:
            SecretBox(secret).open(sealed)
            readable = True
        except ConfigurationError:
            readable = False
    return verdicts.secret_key(len(secret), readable)


def _light_worker(session: Session) -> Finding:
    from sqlalchemy import text

    connected = session.execute(
        text(
            "select exists (select from pg_stat_activity"
            " where application_name = 'styleflow-duties' and datname = current_database())"
        )
    ).scalar_one()
    return verdicts.light_worker(connected=bool(connected))


def _workers(session: Session) -> Finding:
    from styleflow.jobs.state import Lane
    from styleflow.jobs.workers import alive

    return verdicts.workers({row.id: row.lanes for row in alive(session)}, list(Lane))


def _queues(session: Session, settings: Settings) -> Finding:
    from styleflow.jobs.queries import backlog

    found = {
        str(lane): verdicts.Queue(queued=waiting.queued, oldest_seconds=waiting.oldest_seconds)
        for lane, waiting in backlog(session).items()
    }
    return verdicts.queues(found, settings.max_queued_jobs)
