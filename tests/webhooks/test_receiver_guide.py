"""The receiver guide in docs/concepts/webhooks.md does what it says, as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.webhooks.test_signature import BODY, HEADERS, MESSAGE, SECRET, SIGNATURE, TIMESTAMP

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "concepts" / "webhooks.md").read_text()


def fenced(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)
    return str(found)


def test_the_vector_stands_in_the_guide() -> None:
    assert all(text in GUIDE for text in (SECRET, SIGNATURE, MESSAGE, str(TIMESTAMP), BODY.decode()))


def test_the_python_of_the_guide_believes_the_vector_and_nothing_else() -> None:
    names: dict[str, Any] = {}
    exec(fenced("python"), names)
    genuine = names["is_genuine"]

    assert genuine(SECRET, HEADERS, BODY, TIMESTAMP)
    assert genuine(SECRET, {**HEADERS, "webhook-signature": f"v1,old {SIGNATURE}"}, BODY, TIMESTAMP)
    assert not genuine(SECRET, HEADERS, BODY + b" ", TIMESTAMP)
    assert not genuine(SECRET, HEADERS, BODY, TIMESTAMP + 301)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_shell_of_the_guide_computes_the_vector(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_bytes(BODY)
    given = {"SECRET": SECRET, "WEBHOOK_ID": MESSAGE, "WEBHOOK_TIMESTAMP": str(TIMESTAMP)}

    done = subprocess.run(
        ["sh", "-c", fenced("sh")], cwd=tmp_path, env=os.environ | given, capture_output=True, text=True, check=True
    )

    assert f"v1,{done.stdout.strip()}" == SIGNATURE


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_of_the_guide_believes_the_vector_and_nothing_else(tmp_path: Path) -> None:
    calls = [
        [SECRET, HEADERS, BODY.decode(), TIMESTAMP],
        [SECRET, {**HEADERS, "webhook-signature": f"v1,old {SIGNATURE}"}, BODY.decode(), TIMESTAMP],
        [SECRET, HEADERS, BODY.decode() + " ", TIMESTAMP],
        [SECRET, HEADERS, BODY.decode(), TIMESTAMP + 301],
    ]
    asked = f"console.log(JSON.stringify({json.dumps(calls)}.map((call) => isGenuine(...call))));"
    (tmp_path / "guide.cjs").write_text(f"{fenced('js')}\n{asked}\n")

    done = subprocess.run(["node", "guide.cjs"], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [True, True, False, False]
