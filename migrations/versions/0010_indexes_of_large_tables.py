"""indexes on tables that may be large and in use

They are built beside the service: outside of any transaction, without keeping writers waiting. Nothing else is in this
migration, so that one that breaks off can simply be run again.
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_jobs_ending", "jobs", "expires_at", "finished_at is not null and held_at is null"),
    ("ix_jobs_crops_until", "jobs", "crops_until", "crops_until is not null and held_at is null"),
    ("ix_jobs_frames_until", "jobs", "frames_until", "frames_until is not null and held_at is null"),
    ("ix_jobs_zero_at", "jobs", "zero_at", "zero_at is not null and held_at is null"),
    ("ix_jobs_undated", "jobs", "finished_at", "finished_at is not null and dated_at is null and erased_at is null"),
    ("ix_jobs_upload", "jobs", "(source ->> 'upload_id')", "true"),
    ("ix_jobs_client_ref_id", "jobs", "project_id, client_ref, id", "client_ref is not null"),
    ("ix_jobs_media_sha256", "jobs", "project_id, (media ->> 'sha256')", "media ->> 'sha256' is not null"),
    ("ix_jobs_source_sha256", "jobs", "project_id, (source ->> 'sha256')", "source ->> 'sha256' is not null"),
    ("ix_uploads_expires", "uploads", "expires_at", "state <> 'erased'"),
    ("ix_uploads_erased", "uploads", "expires_at", "state = 'erased'"),
    ("ix_uploads_sha256", "uploads", "project_id, sha256", "sha256 is not null"),
    ("ix_jobs_content", "jobs", "project_id, content_key", "content_key is not null"),
    (
        "ix_batch_items_upload",
        "batch_items",
        "(item #>> '{source,upload_id}')",
        "state = 'listed' and item #>> '{source,upload_id}' is not null",
    ),
    ("ix_events_subject", "events", "subject_id, sequence", "subject_id is not null"),
    ("ix_events_feed", "events", "project_id, created_at, id", "true"),
    ("ix_events_erased", "events", "erased_at", "erased_at is not null and body <> ''"),
)
"""On tables that may be large and in use: name, table, columns, condition."""

UNIQUE = ("uq_deliveries_replay", "deliveries", "replay_id, event_id", "replay_id is not null")
REPLACED = ("ix_jobs_expires", "ix_jobs_client_ref")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # Building waits for whoever is in the middle of a transaction, which is harmless and may take longer than a
        # lock may. What a build that broke off left behind is unusable and goes first.
        op.execute("set lock_timeout = 0")
        for name, table, columns, rows in (*INDEXES, UNIQUE):
            unique = "unique " if name == UNIQUE[0] else ""
            condition = "" if rows == "true" else f" where {rows}"
            op.execute(f"drop index concurrently if exists {name}")
            op.execute(f"create {unique}index concurrently {name} on {table} ({columns}){condition}")
        for replaced in REPLACED:
            op.execute(f"drop index concurrently if exists {replaced}")
        op.execute("set lock_timeout = '5s'")


def downgrade() -> None:
    op.create_index("ix_jobs_expires", "jobs", ["expires_at"], unique=False)
    op.execute("create index ix_jobs_client_ref on jobs (project_id, client_ref) where client_ref is not null")
    for name, _, _, _ in (*INDEXES, UNIQUE):
        op.execute(f"drop index if exists {name}")
