"""exports, and indexes for the filters of the list of jobs

The indexes are built beside the service: outside of the transaction, without keeping writers waiting.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

JOB_INDEXES = {
    # Of jobs that are queued or settled: a running one has an index of its own, and pays for none at a heartbeat.
    "ix_jobs_queued": "(project_id, created_at desc, id desc) where state = 'queued'",
    "ix_jobs_settled": "(project_id, state, created_at desc, id desc) where state <> 'queued' and state <> 'running'",
    "ix_jobs_outcome": "(project_id, outcome, created_at desc, id desc) where outcome is not null",
    "ix_jobs_verdict": "(project_id, verdict, created_at desc, id desc) where verdict is not null",
    "ix_jobs_tags": "using gin (tags jsonb_path_ops) where tags <> '{}'::jsonb",
}


def upgrade() -> None:
    # First, and as often as need be: a migration that breaks off behind this begins anew.
    with op.get_context().autocommit_block():
        # Building waits for whoever is in the middle of a transaction, which is harmless and may take longer than a
        # lock may. What a build that broke off left behind is unusable and goes first.
        op.execute("set lock_timeout = 0")
        for name, definition in JOB_INDEXES.items():
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on jobs {definition}")
        op.execute("set lock_timeout = '5s'")

    op.create_table(
        "exports",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("fields", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("csv_safe", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("query", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("destination", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column(
            "checkpoint", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("lease_owner", sa.Text(), nullable=True),
        sa.Column("lease_token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("row_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("file_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("byte_count", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("manifest", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("keep_days", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_exports_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exports")),
    )
    op.create_index(
        "ix_exports_listing",
        "exports",
        ["project_id", sa.literal_column("created_at desc"), sa.literal_column("id desc")],
    )
    op.create_index("ix_exports_open", "exports", ["created_at"], postgresql_where=sa.text("finished_at is null"))
    op.create_index("ix_exports_expires", "exports", ["expires_at"])
    op.create_table(
        "export_files",
        sa.Column("export_id", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["export_id"], ["exports.id"], name=op.f("fk_export_files_export_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("export_id", "number", name=op.f("pk_export_files")),
    )
    op.create_index(op.f("ix_export_files_key"), "export_files", ["key"])


def downgrade() -> None:
    for name in JOB_INDEXES:
        op.drop_index(name, table_name="jobs")
    op.drop_index(op.f("ix_export_files_key"), table_name="export_files")
    op.drop_table("export_files")
    op.drop_index("ix_exports_expires", table_name="exports")
    op.drop_index("ix_exports_open", table_name="exports")
    op.drop_index("ix_exports_listing", table_name="exports")
    op.drop_table("exports")
