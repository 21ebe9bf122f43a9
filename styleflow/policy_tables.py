"""The tables of policies and of their application to results that are there already."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class PolicyRow(Table):
    """One revision of one project's named thresholds. Never changed: a change is the next revision."""

    __tablename__ = "policies"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    """From 1."""
    weak: Mapped[float]
    suspicious: Mapped[float]
    strong: Mapped[float]
    """Calibrated probabilities, 0..1, rising."""
    description: Mapped[str]
    created_at: Mapped[datetime] = now()


class RelabelingRow(Table):
    """An order to put the newest words on stored results."""

    __tablename__ = "relabelings"

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    policy: Mapped[str]
    revision: Mapped[int]
    """0 with `default`: back to the packs' own."""
    own_thresholds: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """With `default`: those of the packs that were served when it was ordered, as `restoring.Own`."""
    batch_id: Mapped[str | None]
    created_after: Mapped[datetime | None]
    created_before: Mapped[datetime | None]
    looked_at: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    changed: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Results whose word is another one now."""
    last_created_at: Mapped[datetime | None]
    last_id: Mapped[str | None]
    """How far this pass came: the job that was looked at last."""
    since: Mapped[datetime | None]
    """This pass looks at jobs from then on; null in the first, which looks at all of them."""
    next_since: Mapped[datetime | None]
    """The oldest job that was under way when this pass began; null when there was none, and no other pass is needed."""
    due_at: Mapped[datetime | None]
    """Until then the order waits for jobs that are under way."""
    created_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_relabelings_open", "created_at", postgresql_where=text("finished_at is null")),
        Index("ix_relabelings_finished", "finished_at", postgresql_where=text("finished_at is not null")),
        Index("ix_relabelings_listing", "project_id", text("created_at desc"), text("id desc")),
    )
