"""retention, erasure, legal hold"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)

JOB_COLUMNS = ("dated_at", "source_until", "crops_until", "frames_until", "zero_at", "held_at")


def upgrade() -> None:
    _new_tables()
    op.add_column("jobs", sa.Column("retention", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    for name in JOB_COLUMNS:
        op.add_column("jobs", sa.Column(name, _MOMENT, nullable=True))
    op.add_column("events", sa.Column("erased_at", _MOMENT, nullable=True))


def _new_tables() -> None:
    op.create_table(
        "retention_policies",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("source_hours", sa.Double(), nullable=True),
        sa.Column("crops_days", sa.Double(), nullable=True),
        sa.Column("frames_days", sa.Double(), nullable=True),
        sa.Column("results_days", sa.Double(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_retention_policies_project_id")),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_retention_policies")),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("selector", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_before", _MOMENT, nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), server_default=sa.text("''"), nullable=False),
        *(
            sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False)
            for name in ("erased", "uploads", "unknown", "held", "waiting")
        ),
        sa.Column("walked", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_expires_at", _MOMENT, nullable=True),
        sa.Column("proof", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_erasures_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    op.execute("create index ix_erasures_open on erasures (lease_expires_at nulls first) where finished_at is null")
    op.create_index(
        "ix_erasures_finished", "erasures", ["finished_at"], postgresql_where=sa.text("finished_at is not null")
    )
    op.create_table(
        "tombstones",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("erasure_id", sa.Text(), nullable=True),
        sa.Column("summary_sha256", sa.Text(), nullable=True),
        sa.Column("media_sha256", sa.Text(), nullable=True),
        sa.Column("erased_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_tombstones_project_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_tombstones")),
    )
    op.create_index(op.f("ix_tombstones_erased_at"), "tombstones", ["erased_at"])
    op.create_index(
        "ix_tombstones_erasure",
        "tombstones",
        ["erasure_id", "job_id"],
        postgresql_where=sa.text("erasure_id is not null"),
    )
    op.create_table(
        "object_erasures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("erasure_id", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("due_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_object_erasures")),
    )
    op.create_index("ix_object_erasures_due", "object_erasures", ["due_at", "id"])
    op.create_index(
        "ix_object_erasures_erasure",
        "object_erasures",
        ["erasure_id"],
        postgresql_where=sa.text("erasure_id is not null"),
    )
    op.create_table(
        "legal_holds",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.Text(), nullable=False),
        sa.Column("placed_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("released_by", sa.Text(), nullable=True),
        sa.Column("released_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_legal_holds_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_holds")),
    )
    op.create_index(
        "uq_legal_holds_standing",
        "legal_holds",
        ["job_id"],
        unique=True,
        postgresql_where=sa.text("released_at is null"),
    )
    op.create_index(
        "ix_legal_holds_released", "legal_holds", ["released_at"], postgresql_where=sa.text("released_at is not null")
    )


def downgrade() -> None:
    op.drop_column("events", "erased_at")
    for name in (*JOB_COLUMNS, "retention"):
        op.drop_column("jobs", name)
    for table in ("legal_holds", "object_erasures", "tombstones", "erasures", "retention_policies"):
        op.drop_table(table)
