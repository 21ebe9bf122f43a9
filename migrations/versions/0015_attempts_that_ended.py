"""attempts by when they ended, for what jobs are expected to take

A summary of blocks: attempts end about in the order in which they are made, and an attempt that ends is not written to
an index of rows for it. Built beside the service, outside of any transaction; nothing else is in this migration.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        op.execute("drop index concurrently if exists ix_attempts_finished_at")
        op.execute(
            "create index concurrently ix_attempts_finished_at on attempts using brin (finished_at)"
            " with (pages_per_range = 16, autosummarize = on)"
        )
        op.execute("set lock_timeout = '5s'")


def downgrade() -> None:
    op.execute("drop index if exists ix_attempts_finished_at")
