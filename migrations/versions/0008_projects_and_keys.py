"""projects and keys"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_KEY_COLUMNS = ("mode", "cidrs", "rotated_at", "previous_secret_hash", "previous_expires_at")
_USED = (
    "accepted", "succeeded", "failed", "canceled", "expired", "scored", "not_applicable", "inconclusive",
    "worker_ms", "upload_bytes",
)  # fmt: skip
_QUOTAS = (
    "active_jobs", "jobs_per_day", "worker_seconds_per_day", "upload_bytes_per_day", "open_batches",
    "webhook_endpoints",
)  # fmt: skip


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("mode", sa.Text(), server_default=sa.text("'live'"), nullable=False))
    op.add_column("api_keys", sa.Column("cidrs", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("api_keys", sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("api_keys", sa.Column("previous_secret_hash", sa.LargeBinary(), nullable=True))
    op.add_column("api_keys", sa.Column("previous_expires_at", sa.DateTime(timezone=True), nullable=True))
    _make_quotas()
    _make_usage()
    _make_audit()


def downgrade() -> None:
    for table in (
        "audit_events",
        "audit_chains",
        "usage_deltas",
        "usage_days",
        "project_activity",
        "project_quotas",
    ):
        op.drop_table(table)
    for column in _KEY_COLUMNS:
        op.drop_column("api_keys", column)


def _make_quotas() -> None:
    op.create_table(
        "project_quotas",
        sa.Column("project_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in _QUOTAS),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_quotas_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_quotas")),
    )


def _make_usage() -> None:
    op.create_table(
        "project_activity",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("active_jobs", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_project_activity_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_project_activity")),
    )
    op.create_table(
        "usage_days",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        *(_count(name) for name in _USED),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_usage_days_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "day", "model", name=op.f("pk_usage_days")),
    )
    op.create_table(
        "usage_deltas",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.Text(), server_default=sa.text("''"), nullable=False),
        *(_count(name) for name in (*_USED, "active_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_deltas")),
    )
    op.create_index(op.f("ix_usage_deltas_project_id"), "usage_deltas", ["project_id"])
    # What was accepted before counts against the quota of what is open. What moves while this runs is found by the
    # recount of the light worker.
    op.execute(
        "insert into project_activity select project_id, count(*) from jobs"
        " where state in ('queued', 'running') group by project_id"
    )


def _make_audit() -> None:
    op.create_table(
        "audit_chains",
        sa.Column("project_id", sa.Text(), nullable=False),
        _count("anchor_sequence"),
        sa.Column("anchor_hash", sa.LargeBinary(), nullable=False),
        _count("head_sequence"),
        sa.Column("head_hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_chains_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_audit_chains")),
    )
    op.create_table(
        "audit_events",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("previous_hash", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_audit_events_project_id")),
        sa.PrimaryKeyConstraint("project_id", "sequence", name=op.f("pk_audit_events")),
        sa.UniqueConstraint("id", name=op.f("uq_audit_events_id")),
    )
    op.create_index("ix_audit_events_action", "audit_events", ["project_id", "action", "sequence"])
    op.create_index("ix_audit_events_target", "audit_events", ["project_id", "target", "sequence"])
    op.create_index("ix_audit_events_created", "audit_events", ["created_at"])


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
