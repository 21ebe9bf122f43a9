"""From rows to files: leased, fenced and resumable, one file at a time.

A file is stored under a key with the fencing token, and only then recorded, together with the place where to go on, in
one transaction. What it may get wrong: an export whose owner froze longer than its lease is written by two for a while;
the one with the stale token finds that it may not record anything, and stops. Its objects are named by no row and are
deleted when the export ends, or by the reaper.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import structlog
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from styleflow.database import Database
from styleflow.errors import (
    InternalFailure,
    LeaseLost,
    Released,
    RequestError,
    SourceError,
    StorageUnavailable,
    StyleFlowError,
    WorkerLost,
)
from styleflow.export_tables import ExportFileRow, ExportRow
from styleflow.exports.columns import chosen
from styleflow.exports.manifest import MANIFEST_NAME, file_name, manifest_bytes
from styleflow.exports.places import prefix_of
from styleflow.exports.selection import Checkpoint, Selection, read_chunk
from styleflow.exports.state import MAX_TRIES, ExportState, Format, Rows, pause
from styleflow.exports.writing import MEDIA_TYPES, Hashed, open_sheet
from styleflow.jobs.transitions import clock, error_value
from styleflow.storage.bucket import Bucket
from styleflow.webhooks.announce import announce_export

FILE_ROWS = 500_000
FILE_BYTES = 96 << 20
"""A file is closed at so many rows or bytes; its last chunk may go beyond, by 16 MB where metadata is large."""
STORE_SECONDS = 300.0
"""How long a file may take on its way to the store before somebody else may take the export over."""
TURN_SECONDS = 20.0
"""After so long another export has its turn."""

_log = structlog.get_logger(__name__)

_CLAIM = text(
    "update exports set state = 'running', started_at = coalesce(started_at, now()), lease_owner = :owner,"
    " lease_token = lease_token + 1, tries = tries + 1,"
    " lease_expires_at = now() + make_interval(secs => :seconds)"
    " where id = (select id from exports where finished_at is null"
    "  and (lease_expires_at is null or lease_expires_at <= now())"
    "  order by lease_expires_at nulls first, created_at limit 1 for update skip locked)"
    " returning id"
)
_GUARD = " where id = :id and lease_token = :token and finished_at is null returning id"
_RENEW = text("update exports set lease_expires_at = now() + make_interval(secs => :seconds)" + _GUARD)
_LEAVE = text(
    "update exports set lease_owner = null, lease_expires_at = now() + make_interval(secs => :seconds)" + _GUARD
)
_RELEASE = text(
    "update exports set lease_owner = null, lease_expires_at = null, tries = greatest(tries - 1, 0)" + _GUARD
)
_ADVANCE = text(
    "update exports set checkpoint = cast(:checkpoint as jsonb), tries = 0, row_count = row_count + :rows,"
    " file_count = file_count + 1, byte_count = byte_count + :bytes,"
    " lease_expires_at = now() + make_interval(secs => :seconds)" + _GUARD
)


@dataclass(frozen=True, kw_only=True)
class Held:
    """An export that this process holds until the lease runs out."""

    export: ExportRow
    """As it was at the claim."""

    @property
    def token(self) -> int:
        return self.export.lease_token

    @property
    def selection(self) -> Selection:
        return Selection(
            project_id=self.export.project_id,
            rows=Rows(self.export.rows),
            columns=chosen(Rows(self.export.rows), self.export.fields),
            query=self.export.query,
            until=self.export.created_at,
        )


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file on disk: what is in it, and where to go on behind it."""

    rows: int
    size_bytes: int
    sha256: str
    checkpoint: Checkpoint
    last: bool
    """Nothing is left behind it."""


@dataclass(frozen=True, kw_only=True)
class Exporter:
    """Writes one export after the other, each for some seconds."""

    database: Database
    bucket: Bucket
    bucket_named: Callable[[str, str], Bucket]
    """A caller's own bucket, by the id of the project and the bucket's name. Raises SourceNotAllowed when the operator
    does not let this project write there."""
    owner: str
    scratch: Path | None = None
    """Where files are written before they are stored; the folder of temporary files when it is None."""
    lease_seconds: float = 120.0
    file_rows: int = FILE_ROWS
    file_bytes: int = FILE_BYTES
    turn_seconds: float = TURN_SECONDS
    stopping: Callable[[], bool] = lambda: False
    """Whether the process is to end: the file that is being written is given up."""

    def export_once(self) -> int:
        """Give the export that waits longest its turn; returns how many there were to do: 0 or 1.

        Raises StorageUnavailable when its store does not answer; it is tried again later, behind its last file.
        """
        held = self._claim()
        if held is None:
            return 0
        try:
            self._carry_out(held)
        except LeaseLost:
            _log.info("export_given_up", export=held.export.id)
        except Released:
            with suppress(LeaseLost):
                self._guarded(_RELEASE, held)
        except StorageUnavailable as error:
            self._put_off(held, error)
            raise
        except (SourceError, RequestError) as error:
            self._fail(held, error)
        except (ValueError, TypeError):
            # What it is to write cannot be written: that ends this export, not the process and all others.
            _log.exception("export_broke", export=held.export.id)
            self._fail(held, InternalFailure("A row could not be written."))
        return 1

    def _carry_out(self, held: Held) -> None:
        if held.export.tries > MAX_TRIES:
            self._fail(held, WorkerLost("It was begun several times and never came to the end of a file."))
            return
        bucket = self._bucket_of(held.export)
        checkpoint: Checkpoint = held.export.checkpoint
        number = held.export.file_count
        turn_ends = time.monotonic() + self.turn_seconds
        while not checkpoint.get("done"):
            with NamedTemporaryFile(dir=self.scratch, prefix="styleflow-export-") as file:
                written = self._write(held, checkpoint, Hashed(file.file))
                file.flush()
                number += 1
                checkpoint = self._keep(held, bucket, number, Path(file.name), written)
            if time.monotonic() >= turn_ends and not checkpoint.get("done"):
                self._guarded(_LEAVE, held, seconds=0.0)
                return
        self._finish(held, bucket)

    def _write(self, held: Held, checkpoint: Checkpoint, file: Hashed) -> Written:
        """Rows into the file until it is full or there are no more."""
        export, selection = held.export, held.selection
        rows, last = 0, False
        renew_at = time.monotonic() + self.lease_seconds / 4
        with closing(open_sheet(Format(export.format), file, selection.columns, csv_safe=export.csv_safe)) as sheet:
            while not last and rows < self.file_rows and file.size < self.file_bytes:
                if self.stopping():
                    raise Released
                with self.database.transaction() as session:
                    chunk = read_chunk(session, selection, checkpoint)
                last = chunk is None
                if chunk is not None:
                    sheet.write(chunk.rows)
                    rows, checkpoint = rows + len(chunk.rows), chunk.checkpoint
                if time.monotonic() >= renew_at:
                    self._guarded(_RENEW, held, seconds=self.lease_seconds)
                    renew_at = time.monotonic() + self.lease_seconds / 4
        return Written(rows=rows, size_bytes=file.size, sha256=file.sha256, checkpoint=checkpoint, last=last)

    def _keep(self, held: Held, bucket: Bucket, number: int, path: Path, written: Written) -> Checkpoint:
        """Store the file, then record it. An export without rows still has one file, with its header or schema."""
        export = held.export
        checkpoint = {**written.checkpoint, "done": True} if written.last else dict(written.checkpoint)
        if written.last and not written.rows and number > 1:
            self._guarded(_RENEW, held, seconds=self.lease_seconds)
            return checkpoint
        key = self._key(held, file_name(number, export.format))
        self._guarded(_RENEW, held, seconds=max(self.lease_seconds, STORE_SECONDS))
        bucket.put(key, path, MEDIA_TYPES[Format(export.format)])
        with self.database.transaction() as session:
            # The guard first: it locks the export, so that nobody cancels or takes it over meanwhile.
            values = {"rows": written.rows, "bytes": written.size_bytes, "seconds": self.lease_seconds}
            _guarded(session, _ADVANCE, held, checkpoint=json.dumps(checkpoint), **values)
            session.add(
                ExportFileRow(
                    export_id=export.id,
                    number=number,
                    key=key,
                    size_bytes=written.size_bytes,
                    sha256=written.sha256,
                    row_count=written.rows,
                )
            )
        return checkpoint

    def _finish(self, held: Held, bucket: Bucket) -> None:
        with self.database.transaction() as session:
            export = _locked(session, held)
            files = files_of(session, export.id)
            data = manifest_bytes(export, files)
        stored = bucket.put(self._key(held, MANIFEST_NAME), data, "application/json")
        manifest = {"key": self._key(held, MANIFEST_NAME), "size_bytes": stored.size_bytes}
        self._end(held, ExportState.SUCCEEDED, manifest=manifest)
        self._sweep(held, bucket, {str(manifest["key"]), *(row.key for row in files)})

    def _sweep(self, held: Held, bucket: Bucket, named: set[str]) -> None:
        """Delete what attempts left that lost their lease. In a caller's bucket we may lack the right to."""
        try:
            bucket.delete([found.key for found in bucket.list(prefix_of(held.export)) if found.key not in named])
        except (StorageUnavailable, SourceError) as error:
            _log.warning("export_leftovers_stay", export=held.export.id, error=type(error).__name__)

    def _fail(self, held: Held, error: StyleFlowError) -> None:
        _log.info("export_failed", export=held.export.id, code=error.code)
        with suppress(LeaseLost):
            self._end(held, ExportState.FAILED, error=error_value(error))

    def _end(self, held: Held, state: ExportState, **values: Any) -> None:
        """The end and its announcement, in one transaction."""
        with self.database.transaction() as session:
            export = _locked(session, held)
            export.state = state
            export.finished_at = clock(session)
            export.expires_at = export.finished_at + timedelta(days=export.keep_days)
            export.lease_owner = export.lease_expires_at = None
            for name, value in values.items():
                setattr(export, name, value)
            session.flush()
            announce_export(session, export)

    def _put_off(self, held: Held, error: StorageUnavailable) -> None:
        with self.database.transaction() as session:
            tries = session.scalar(select(ExportRow.tries).where(ExportRow.id == held.export.id)) or 1
        if tries >= MAX_TRIES:
            self._fail(held, error)
            return
        with suppress(LeaseLost):
            self._guarded(_LEAVE, held, seconds=pause(tries))

    def _claim(self) -> Held | None:
        with self.database.transaction() as session:
            claimed = session.scalar(_CLAIM, {"owner": self.owner, "seconds": self.lease_seconds})
            return None if claimed is None else Held(export=session.get_one(ExportRow, claimed))

    def _bucket_of(self, export: ExportRow) -> Bucket:
        if export.destination is None:
            return self.bucket
        return self.bucket_named(export.project_id, export.destination["bucket"])

    def _key(self, held: Held, name: str) -> str:
        return f"{prefix_of(held.export)}{held.token}/{name}"

    def _guarded(self, statement: Any, held: Held, **values: Any) -> None:
        with self.database.transaction() as session:
            _guarded(session, statement, held, **values)


def files_of(session: Session, export_id: str) -> list[ExportFileRow]:
    """In order of the rows."""
    wanted = select(ExportFileRow).where(ExportFileRow.export_id == export_id).order_by(ExportFileRow.number)
    return list(session.scalars(wanted))


def _locked(session: Session, held: Held) -> ExportRow:
    """The export, locked. Raises LeaseLost when it is another's by now, or over."""
    export = session.scalars(
        select(ExportRow)
        .where(ExportRow.id == held.export.id, ExportRow.lease_token == held.token, ExportRow.finished_at.is_(None))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if export is None:
        raise LeaseLost
    return export


def _guarded(session: Session, statement: Any, held: Held, **values: Any) -> None:
    """Raises LeaseLost when the export is another's by now, or over."""
    guard: Mapping[str, Any] = {"id": held.export.id, "token": held.token}
    if session.execute(statement, {**guard, **values}).first() is None:
        raise LeaseLost
