"""Every setting of the service, read from `STYLEFLOW_…` variables. Only the doors read them and pass values down.

docs/operations.md has a line for each; a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, IPvAnyNetwork, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from styleflow.token_bucket import MAX_QUOTA


class Settings(BaseSettings):
    """Values by which one installation differs from another. Durations are seconds, sizes bytes."""

    model_config = SettingsConfigDict(env_prefix="STYLEFLOW_", extra="ignore")

    # where things are
    database_url: str = "postgresql+psycopg://styleflow@localhost/styleflow"
    redis_url: str = "redis://localhost:6379/0"
    bucket_url: str = "file://./bucket"
    s3_endpoint_url: str | None = None
    s3_public_endpoint_url: str | None = None
    s3_region: str = "us-east-1"
    packs_directory: Path = Path("packs")
    default_model: str = "styleflow@default"
    public_url: str = "http://localhost:8000"

    # who may do what
    secret_key: SecretStr = SecretStr("")
    source_buckets: list[str] = Field(default_factory=list)
    export_buckets: list[str] = Field(default_factory=list)
    trusted_proxies: list[IPvAnyNetwork] = Field(default_factory=list)
    compat_predict: bool = False
    predict_wait_seconds: float = 300.0
    egress_allow_http: bool = False
    egress_allow_loopback: bool = False
    egress_connect_to: list[str] = Field(default_factory=list)
    egress_ca_file: Path | None = None

    # doors
    host: str = "127.0.0.1"
    port: int = Field(default=8000, validation_alias=AliasChoices("STYLEFLOW_PORT", "SERVER_PORT"))
    metrics_port: int = 0
    max_body_bytes: int = 1 << 20
    max_upload_bytes: int = 5 << 30
    database_pool: int = 10
    project_reads_per_minute: int = Field(default=120_000, ge=0, le=MAX_QUOTA)
    project_writes_per_minute: int = Field(default=60_000, ge=0, le=MAX_QUOTA)
    key_reads_per_minute: int = Field(default=60_000, ge=0, le=MAX_QUOTA)
    key_writes_per_minute: int = Field(default=30_000, ge=0, le=MAX_QUOTA)
    max_event_streams: int = 2_000
    max_project_event_streams: int = 500
    quota_active_jobs: int = Field(default=0, ge=0)
    quota_jobs_per_day: int = Field(default=0, ge=0)
    quota_worker_seconds_per_day: int = Field(default=0, ge=0)
    quota_upload_bytes_per_day: int = Field(default=0, ge=0)
    quota_open_batches: int = Field(default=0, ge=0)
    quota_webhook_endpoints: int = Field(default=0, ge=0)
    log_format: Literal["console", "json"] = "console"
    environment: Literal["development", "production"] = "development"

    # the job core
    lease_seconds: float = 60.0
    heartbeat_seconds: float = 10.0
    max_attempts: int = 5
    max_attempt_seconds: float = 6 * 3600.0
    max_queued_jobs: int = 5_000_000
    nudge_window: int = 32
    nudge_repair_seconds: float = 30.0
    bulk_ageing_seconds: float = 600.0
    rescue_seconds: float = 5.0
    poll_seconds: float = 15.0
    idempotency_hours: float = 168.0
    batch_in_flight: int = 500

    # the worker
    device: str = "auto"
    precision: str = "float32"
    max_media_bytes: int = 5 << 30
    max_media_seconds: float = 4 * 3600.0
    sandbox_memory_bytes: int = 2 << 30
    sandbox_stall_seconds: float = 20.0
    sandbox_required: bool = False
    crops: bool = True

    # webhooks
    webhook_timeout_seconds: float = 15.0
    webhook_concurrency: int = 8
    webhook_disable_days: float = Field(default=5.0, gt=0)

    # retention
    source_hours: float = Field(default=24.0, ge=0, le=876_000)
    crops_days: float = Field(default=30.0, ge=0, le=36_500)
    frames_days: float = Field(default=90.0, ge=0, le=36_500)
    results_days: float = Field(default=400.0, ge=0, le=36_500)
    events_days: float = Field(default=30.0, ge=0, le=36_500)
    audit_days: float = Field(default=730.0, ge=0, le=36_500)
    exports_days: float = 7.0
    max_source_hours: float = Field(default=168.0, ge=0, le=876_000)
    max_crops_days: float = Field(default=365.0, ge=0, le=36_500)
    max_frames_days: float = Field(default=400.0, ge=0, le=36_500)
    max_results_days: float = Field(default=3650.0, ge=0, le=36_500)
    zero_retention_minutes: float = Field(default=15.0, ge=0, le=1_440)

    @model_validator(mode="after")
    def _nothing_of_development_in_production(self) -> Self:
        """Raises ValueError (pydantic.ValidationError to the caller), naming the setting."""
        if self.environment == "production":
            for name in ("egress_allow_http", "egress_allow_loopback"):
                if getattr(self, name):
                    raise ValueError(f"STYLEFLOW_{name.upper()} is for development only; production refuses it")
        return self
