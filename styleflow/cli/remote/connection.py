"""Which service is spoken to, with which key, and how what goes wrong ends the command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import styleflow
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.sending import Refused
from styleflow.cli.remote.shown import complain
from styleflow.errors import StyleFlowError

DEFAULT_URL = "http://localhost:8000"
KEY_BEGINS = "sfk_"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="STYLEFLOW_URL",
        help="The service.",
        show_default="that of `styleflow up`",
        rich_help_panel="Service",
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="STYLEFLOW_KEY_FILE",
        help="A file with the API key; else STYLEFLOW_API_KEY is the key.",
        show_default="that of `styleflow up`",
        rich_help_panel="Service",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write a JSON object per line.", rich_help_panel="Service")]


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service is, and who calls."""

    url: str
    key: str


def address_of(url: str | None, key_file: Path | None, environment: Mapping[str, str]) -> Address:
    """What the options say, else the environment, else a `styleflow up` of this home.

    The home's key goes to the home's service only. Raises Refused where there is no key or it cannot be read.
    """
    home = _home(environment)
    home_url = _written(home / "environment", "STYLEFLOW_PUBLIC_URL")
    chosen = (url or home_url or DEFAULT_URL).rstrip("/")
    if key_file is not None:
        return Address(url=chosen, key=_key_in(key_file))
    if environment.get("STYLEFLOW_API_KEY"):
        return Address(url=chosen, key=environment["STYLEFLOW_API_KEY"].strip())
    if home_url is not None and chosen == home_url.rstrip("/"):
        return Address(url=chosen, key=_key_in(home / "api-key"))
    raise Refused(
        Exit.FORBIDDEN, "unauthenticated", "there is no API key: set STYLEFLOW_API_KEY, or name its file by --key-file"
    )


def _home(environment: Mapping[str, str]) -> Path:
    given = environment.get("STYLEFLOW_HOME")
    return Path(given) if given else Path(styleflow.__file__).resolve().parents[1] / ".styleflow"


def _written(path: Path, name: str) -> str | None:
    """A value among the settings that `styleflow up` leaves in its home."""
    from dotenv import dotenv_values

    try:
        return dotenv_values(path).get(name) if path.is_file() else None
    except OSError:
        return None


def _key_in(path: Path) -> str:
    if str(path).startswith(KEY_BEGINS):
        raise Refused(
            Exit.REFUSED,
            "key_in_argument",
            "--key-file takes the name of a file. An API key on the command line can be read by everybody on this "
            "machine, and is kept in the shell's history: revoke that one",
        )
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise Refused(Exit.FORBIDDEN, "unauthenticated", f"the key file {path} cannot be read: {reason}") from error
    if not key or not key.isascii() or any(letter.isspace() for letter in key):
        raise Refused(Exit.FORBIDDEN, "unauthenticated", f"the file {path} holds no API key")
    return key


@contextmanager
def ends() -> Iterator[None]:
    """What is refused becomes one sentence on standard error and its exit code."""
    try:
        yield
    except Refused as refused:
        complain(refused.sentence)
        raise typer.Exit(refused.end) from refused
    except StyleFlowError as error:
        complain(f"{error.code}: {error}")
        raise typer.Exit(Exit.REFUSED) from error
