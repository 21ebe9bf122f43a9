"""The table of the workers that are alive."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from styleflow.tables import Table, now


class WorkerRow(Table):
    """A worker that is alive, and what it serves."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    lanes: Mapped[list[str]]
    models: Mapped[list[str]]
    device: Mapped[str]
    started_at: Mapped[datetime] = now()
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
