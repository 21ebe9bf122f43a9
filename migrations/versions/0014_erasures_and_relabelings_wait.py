"""erasures and relabellings wait for what is under way

Columns with constant defaults and an empty table first, each only where it is not there yet; then an index beside the
service, outside of any transaction. So one that breaks off can simply be run again.
"""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

COLUMNS = (
    ("erasures", "undecided", "integer default 0 not null"),
    ("erasures", "items", "integer default 0 not null"),
    ("relabelings", "since", "timestamptz"),
    ("relabelings", "next_since", "timestamptz"),
    ("relabelings", "due_at", "timestamptz"),
)


def upgrade() -> None:
    for table, name, kind in COLUMNS:
        op.execute(f"alter table {table} add column if not exists {name} {kind}")
    op.execute(
        "create table if not exists erasure_kept_uploads ("
        " erasure_id text not null, upload_id text not null,"
        " constraint pk_erasure_kept_uploads primary key (erasure_id, upload_id),"
        " constraint fk_erasure_kept_uploads_erasure_id foreign key (erasure_id) references erasures (id)"
        "  on delete cascade)"
    )
    with op.get_context().autocommit_block():
        op.execute("set lock_timeout = 0")
        op.execute("drop index concurrently if exists ix_batch_items_canceled")
        op.execute(
            "create index concurrently ix_batch_items_canceled on batch_items ((item ->> 'client_ref'))"
            " where state = 'canceled' and item ->> 'client_ref' is not null"
        )
        op.execute("set lock_timeout = '5s'")


def downgrade() -> None:
    op.execute("drop index if exists ix_batch_items_canceled")
    op.drop_table("erasure_kept_uploads")
    for table, name, _ in reversed(COLUMNS):
        op.drop_column(table, name)
