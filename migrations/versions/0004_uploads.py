"""uploads in parts, and as items of batches"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("uploads", sa.Column("part_bytes", sa.BigInteger(), nullable=True))
    op.add_column("uploads", sa.Column("multipart_id", sa.Text(), nullable=True))
    op.add_column("uploads", sa.Column("version_id", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("uploads", "version_id")
    op.drop_column("uploads", "multipart_id")
    op.drop_column("uploads", "part_bytes")
