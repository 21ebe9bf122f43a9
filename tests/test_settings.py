from __future__ import annotations

import pytest
from pydantic import ValidationError

from styleflow.settings import Settings


@pytest.mark.parametrize("name", ["EGRESS_ALLOW_HTTP", "EGRESS_ALLOW_LOOPBACK"])
def test_production_refuses_what_is_for_development_only(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("STYLEFLOW_ENVIRONMENT", "production")
    monkeypatch.setenv(f"STYLEFLOW_{name}", "true")

    with pytest.raises(ValidationError, match=f"STYLEFLOW_{name} is for development only"):
        Settings()


def test_the_port_of_the_original_server_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVER_PORT", "8123")

    assert Settings().port == 8123


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    assert "hunter2" not in repr(Settings(secret_key="hunter2"))  # type: ignore[arg-type]
