from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack import CHECKOUT, settings_of
from tests.video.impostor import impostor


def start(home: Path, packs: Path, *program: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A worker process that is expected to refuse before it needs any service."""
    environment = settings_of("postgresql+psycopg://nowhere/none", "redis://127.0.0.1:1/0", home)
    environment |= {"STYLEFLOW_PACKS_DIRECTORY": str(packs), "PATH": "/usr/bin:/bin", **settings}
    return subprocess.run(
        [sys.executable, *(program or ("-m", "worker"))],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_worker_without_a_pack_refuses_to_start_with_one_sentence(tmp_path: Path) -> None:
    done = start(tmp_path, tmp_path / "nothing")

    assert done.returncode == 2
    assert done.stderr.strip().splitlines() == ["there is no weights pack to serve: set STYLEFLOW_PACKS_DIRECTORY"]


def test_a_worker_refuses_to_start_with_a_pack_of_which_one_byte_was_changed(tmp_path: Path) -> None:
    from styleflow.models.sizes import COMPACT
    from styleflow.models.weights import write_random_pack

    pack = write_random_pack(tmp_path / "packs", COMPACT, seed=3)
    content = bytearray(pack.weights_path.read_bytes())
    content[-1] ^= 1
    pack.weights_path.write_bytes(content)

    done = start(tmp_path, tmp_path / "packs")

    assert done.returncode == 2
    assert "was altered" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_worker_refuses_to_start_with_a_card_whose_golden_logit_was_changed(tmp_path: Path) -> None:
    from styleflow.models.sizes import COMPACT
    from styleflow.models.weights import write_random_pack
    from styleflow.packs import write_card

    pack = write_random_pack(tmp_path / "packs", COMPACT, seed=3)
    assert pack.card.golden is not None
    golden = pack.card.golden.model_copy(update={"logit": pack.card.golden.logit + 0.01})
    write_card(pack.card.model_copy(update={"golden": golden}), pack.directory)

    done = start(tmp_path, tmp_path / "packs")

    assert done.returncode == 2
    assert "does not give the golden clip's logit in float32" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_worker_keeps_its_memory_and_environment_from_other_processes_of_its_user(tmp_path: Path) -> None:
    code = (
        "import ctypes; from worker.__main__ import main; PR_GET_DUMPABLE = 3\n"
        "def dumpable(): return ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)\n"
        "before = dumpable(); main(); print(before, dumpable())"
    )
    done = start(tmp_path, tmp_path / "nothing", "-c", code)

    assert done.stdout.split() == ["1", "0"]


def test_a_worker_whose_decoders_cannot_be_confined_as_required_refuses_to_start(tmp_path: Path) -> None:
    from styleflow.models.sizes import COMPACT
    from styleflow.models.weights import write_random_pack

    write_random_pack(tmp_path / "packs", COMPACT, seed=3, default=True)
    root = impostor(tmp_path / "installation", "pass", layers=("network", "seccomp"))
    code = (
        "import sys; from pathlib import Path\n"
        "from styleflow.video import decoder_process; from worker.__main__ import main\n"
        f"decoder_process.PACKAGE_ROOT = Path({str(root)!r}); sys.exit(main())"
    )
    done = start(tmp_path, tmp_path / "packs", "-c", code, STYLEFLOW_SANDBOX_REQUIRED="true")

    assert done.returncode == 2
    assert "cannot be confined" in done.stderr
    assert done.stderr.strip().endswith("What holds: network, seccomp.")
    assert len(done.stderr.strip().splitlines()) == 1
