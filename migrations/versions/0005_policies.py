"""policies"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "policies",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("weak", sa.Double(), nullable=False),
        sa.Column("suspicious", sa.Double(), nullable=False),
        sa.Column("strong", sa.Double(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_policies_project_id")),
        sa.PrimaryKeyConstraint("project_id", "name", "revision", name=op.f("pk_policies")),
    )
    op.create_table(
        "relabelings",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("created_after", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("looked_at", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("changed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("last_created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_relabelings_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relabelings")),
    )
    op.create_index(
        "ix_relabelings_open",
        "relabelings",
        ["created_at"],
        unique=False,
        postgresql_where=sa.text("finished_at is null"),
    )
    op.create_index(
        "ix_relabelings_listing",
        "relabelings",
        ["project_id", sa.literal_column("created_at desc"), sa.literal_column("id desc")],
        unique=False,
    )
    op.add_column("jobs", sa.Column("policy", sa.Text(), server_default=sa.text("'default'"), nullable=False))
    op.add_column("jobs", sa.Column("policy_revision", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("policy_thresholds", postgresql.JSONB(astext_type=sa.Text()), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "policy_thresholds")
    op.drop_column("jobs", "policy_revision")
    op.drop_column("jobs", "policy")
    op.drop_index("ix_relabelings_listing", table_name="relabelings")
    op.drop_index("ix_relabelings_open", table_name="relabelings", postgresql_where=sa.text("finished_at is null"))
    op.drop_table("relabelings")
    op.drop_table("policies")
