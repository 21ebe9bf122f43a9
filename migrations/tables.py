"""Every module of tables, imported so that the metadata knows them all."""

from __future__ import annotations

from styleflow import (
    batch_tables,
    export_tables,
    policy_tables,
    retention_tables,
    tenant_tables,
    webhook_tables,
    worker_tables,
)
from styleflow.tables import Table

MODULES = (batch_tables, export_tables, policy_tables, retention_tables, tenant_tables, webhook_tables, worker_tables)

__all__ = ["MODULES", "Table"]
