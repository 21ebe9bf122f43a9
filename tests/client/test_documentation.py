"""The examples of docs/api/client.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.client.conftest import Running

PAGE = (Path(__file__).parents[2] / "docs/api/client.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("number", "said"), [(0, "succeeded not_applicable no_face"), (1, "succeeded")])
def test_an_example_reaches_the_service(
    service: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STYLEFLOW_URL", service.url)
    monkeypatch.setenv("STYLEFLOW_API_KEY", service.key)
    (tmp_path / "clip.mp4").write_text(f"0.1 {number}")

    exec(EXAMPLES[number], {"__name__": "example"})

    assert capsys.readouterr().out.startswith(said)


def test_the_example_of_a_webhook_verifies(capsys: pytest.CaptureFixture[str]) -> None:
    exec(EXAMPLES[2], {"__name__": "example"})

    assert capsys.readouterr().out == "job.succeeded job_01JD0000000000000000000000\n"
