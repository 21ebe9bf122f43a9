"""reuse of results

Adding columns with constant defaults rewrites no row.
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


def downgrade() -> None:
    op.drop_column("jobs", "deduplicated_from")
    op.drop_column("jobs", "content_key")
    op.drop_column("jobs", "dedupe")
