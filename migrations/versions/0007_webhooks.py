"""webhooks: pending endpoints, rotation, pacing, circuits, replays, subjects of events"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ENDPOINT_COLUMNS = (
    ("signature", sa.Text(), "'hmac'"),
    ("payload", sa.Text(), "'summary'"),
    ("version", sa.Text(), "'1'"),
    ("max_rps", sa.Integer(), None),
    ("max_concurrency", sa.Integer(), "2"),
    ("public_key", sa.Text(), None),
    ("previous_secret_encrypted", sa.LargeBinary(), None),
    ("previous_public_key", sa.Text(), None),
    ("previous_secret_until", sa.DateTime(timezone=True), None),
    ("ping_delivery_id", sa.Text(), None),
    ("revision", sa.Integer(), "1"),
    ("failures", sa.Integer(), "0"),
    ("config_failures", sa.Integer(), "0"),
    ("slow", sa.Boolean(), "false"),
    ("paused_until", sa.DateTime(timezone=True), None),
    ("paced_until", sa.DateTime(timezone=True), None),
)
"""Name, type and default; those without a default may be null. Endpoints from before stay as they are: active."""

EVENTS_AT_ONCE = 10_000
_FILL = sa.text(
    "with chunk as materialized (select id from events where id > :last order by id limit :limit),"
    " filled as (update events set subject_id = body::jsonb -> 'data' ->> 'batch_id' from chunk"
    "  where events.id = chunk.id and type = 'batch.completed' and body <> '')"
    " select max(id) from chunk"
)


def upgrade() -> None:
    for name, kind, default in _ENDPOINT_COLUMNS:
        given = None if default is None else sa.text(default)
        column: sa.Column[object] = sa.Column(name, kind, server_default=given, nullable=default is None)
        op.add_column("webhook_endpoints", column, if_not_exists=True)
    op.add_column("events", sa.Column("subject_id", sa.Text(), nullable=True), if_not_exists=True)
    op.add_column("deliveries", sa.Column("replay_id", sa.Text(), nullable=True), if_not_exists=True)
    _new_table()
    # Outside of the transaction above, which ends here: until then nobody can write an event. All of it may be done
    # again, so that one that breaks off here can simply be run again.
    with op.get_context().autocommit_block():
        _fill_subjects()


def _new_table() -> None:
    op.create_table(
        "webhook_replays",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("from_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("states", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("event_types", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seen_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_id", sa.Text(), nullable=False),
        sa.Column("deliveries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_webhook_replays_project_id")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name=op.f("fk_webhook_replays_endpoint_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_replays")),
        if_not_exists=True,
    )
    op.create_index(
        "uq_webhook_replays_running",
        "webhook_replays",
        ["endpoint_id"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
        if_not_exists=True,
    )


def _fill_subjects() -> None:
    """Which batch each end of a batch is about, walking over all events in order of their ids."""
    connection, last = op.get_bind(), ""
    while last is not None:
        last = connection.execute(_FILL, {"last": last, "limit": EVENTS_AT_ONCE}).scalar_one()


def downgrade() -> None:
    op.drop_table("webhook_replays")
    op.drop_column("deliveries", "replay_id")
    op.drop_column("events", "subject_id")
    for name, _, _ in reversed(_ENDPOINT_COLUMNS):
        op.drop_column("webhook_endpoints", name)
