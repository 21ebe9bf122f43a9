"""`styleflow api-keys`: the keys of one's own project, over the API. `styleflow keys` makes the first ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from styleflow.cli.remote.connection import AsJson, KeyFile, Url
from styleflow.cli.remote.exits import Exit
from styleflow.cli.remote.orders import merged
from styleflow.cli.remote.reaching import reaching
from styleflow.cli.remote.service import part
from styleflow.cli.remote.shown import Columns, Output, Value, complain, field_of, time_of

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="API keys of your project, over the API.",
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="key_…")]

COLUMNS: Columns = {
    "key": field_of("id"),
    "state": field_of("state"),
    "name": field_of("name"),
    "scopes": field_of("scopes"),
    "used": time_of("last_used_at"),
}
CARD: Columns = {
    "key": field_of("id"),
    "secret": field_of("secret"),
    "begins with": field_of("begins_with"),
    "name": field_of("name"),
    "state": field_of("state"),
    "scopes": field_of("scopes"),
    "networks": field_of("cidrs"),
    "created": time_of("created_at"),
    "expires": time_of("expires_at"),
    "old secret until": time_of("previous_secret_until"),
    "used": time_of("last_used_at"),
}


@app.command(epilog="styleflow api-keys create --name moderation --scope jobs:write --scope jobs:read --days 365")
def create(
    scope: Annotated[list[str], typer.Option(help="jobs:write, jobs:read, …; can be given several times.")],
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    days: Annotated[
        float | None, typer.Option(min=0.01, help="Until it expires.", show_default="as the key that makes it")
    ] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="From where alone it is good: 203.0.113.0/24.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Make a key, and show its secret this one time. It can do no more than the key that makes it."""
    with reaching(url, key_file) as service:
        expires = None if days is None else (datetime.now(UTC) + timedelta(days=days)).isoformat()
        body = merged({}, name=name, scopes=scope, expires_at=expires, cidrs=network)
        _with_secret(service.order("/v1/api-keys", body), Output(as_json))


@app.command("list")
def list_(as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """List the keys, newest first, the expired and revoked among them."""
    with reaching(url, key_file) as service:
        Output(as_json).rows(service.pages("/v1/api-keys", None), COLUMNS)


@app.command()
def show(key: Key, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Show a key, without its secret."""
    with reaching(url, key_file) as service:
        Output(as_json).card(service.get(f"/v1/api-keys/{part(key)}"), CARD)


@app.command(epilog="styleflow api-keys rotate key_01J… --overlap-hours 1 --json | jq -r .secret")
def rotate(
    key: Key,
    overlap_hours: Annotated[
        float | None, typer.Option(min=0, help="For which the old secret is good as well.", show_default="24")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    key_file: KeyFile = None,
) -> None:
    """Give a key a new secret, which is shown this one time."""
    with reaching(url, key_file) as service:
        body = merged({}, overlap_hours=overlap_hours)
        _with_secret(service.order(f"/v1/api-keys/{part(key)}:rotate", body), Output(as_json))


@app.command()
def revoke(key: Key, as_json: AsJson = False, url: Url = None, key_file: KeyFile = None) -> None:
    """Make a key worthless from now on. Harmless to repeat."""
    with reaching(url, key_file) as service:
        service.delete(f"/v1/api-keys/{part(key)}")
        Output(as_json).row({"id": key, "state": "revoked"}, {"key": field_of("id"), "state": field_of("state")})


def _with_secret(key: Value, output: Output) -> None:
    """The service tells a secret once; an answer that was lost on the way and asked for again comes without."""
    output.card(key, CARD)
    if not key.get("secret"):
        complain(f"its secret was in an answer that got lost: revoke {key['id']}, or rotate it once more")
        raise typer.Exit(Exit.UNREACHABLE)
