"""reuse of results

Adding columns with constant defaults rewrites no row; the index is built while it is empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("dedupe", sa.Text(), server_default=sa.text("'off'"), nullable=False))
    op.add_column("jobs", sa.Column("content_key", sa.LargeBinary(), nullable=True))
    op.add_column("jobs", sa.Column("deduplicated_from", sa.Text(), nullable=True))
    op.create_index(
        "ix_jobs_content",
        "jobs",
        ["project_id", "content_key"],
        unique=False,
        postgresql_where=sa.text("content_key is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_jobs_content", table_name="jobs", postgresql_where=sa.text("content_key is not null"))
    op.drop_column("jobs", "deduplicated_from")
    op.drop_column("jobs", "content_key")
    op.drop_column("jobs", "dedupe")
