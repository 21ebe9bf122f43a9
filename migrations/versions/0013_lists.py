"""lists of jobs by lane, of erasures, legal holds and relabellings

Built beside the service: outside of any transaction, without keeping writers waiting. Nothing else is in this
migration, so that one that breaks off can simply be run again.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_jobs_lane", "jobs (project_id, lane, created_at desc, id desc)"),
    ("ix_erasures_listing", "erasures (project_id, id desc)"),
    ("ix_legal_holds_listing", "legal_holds (project_id, id desc)"),
    ("ix_relabelings_finished", "relabelings (finished_at) where finished_at is not null"),
)
"""Name; table, columns and condition."""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # Building waits for whoever is in the middle of a transaction, which is harmless and may take longer than a
        # lock may. What a build that broke off left behind is unusable and goes first.
        op.execute("set lock_timeout = 0")
        for name, rest in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create index concurrently {name} on {rest}")
        op.execute("set lock_timeout = '5s'")


def downgrade() -> None:
    for name, _ in INDEXES:
        op.execute(f"drop index if exists {name}")
