"""the highest stretches of a scored video for its event, and the packs' thresholds of a relabelling to them

Columns without a default: nothing is rewritten, and older processes leave them null.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("top_segments", postgresql.JSONB(), nullable=True))
    op.add_column("relabelings", sa.Column("own_thresholds", postgresql.JSONB(), nullable=True))


def downgrade() -> None:
    op.drop_column("relabelings", "own_thresholds")
    op.drop_column("jobs", "top_segments")
