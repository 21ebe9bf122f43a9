"""Owners change their endpoints while several deliverers send to them: nobody is made to fail by anybody else."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from styleflow.errors import NotFound, NotRetryable
from styleflow.webhooks import endpoints, health, replay
from tests.webhooks.office import Office, Receiver

SECONDS = 4.0


def test_deliveries_changes_replays_and_deletions_do_not_break_each_other(office: Office, receiver: Receiver) -> None:
    receiver.statuses["/flaky"] = 500
    made = [office.endpoint(receiver.url(path))[0] for path in ("/hook", "/flaky", "/third", "/fourth")]
    for endpoint in made:
        office.change(endpoint, max_rps=200)
    ends = time.monotonic() + SECONDS

    def again_and_again(act: Callable[[random.Random], object], seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < ends:
            try:
                act(chance)
            except (NotFound, NotRetryable):
                continue

    def change(chance: random.Random) -> None:
        endpoint = chance.choice(made[:3])
        match chance.randrange(5):
            case 0:
                office.change(endpoint, state="disabled")
            case 1:
                office.on_endpoint(endpoint, endpoints.enable)
            case 2:
                office.on_endpoint(endpoint, endpoints.ping)
            case 3:
                office.change(endpoint, url=receiver.url(f"/moved{chance.randrange(3)}"))
            case 4:
                office.on_endpoint(
                    endpoint,
                    lambda session, row: endpoints.rotate_secret(
                        session, office.secrets, row, overlap_hours=1, kind=None
                    ),
                )

    def make_and_delete(chance: random.Random) -> None:
        endpoint, _ = office.pending_endpoint(receiver.url("/passing"))
        office.event(endpoint, *made)
        time.sleep(chance.random() * 0.05)
        office.read(lambda session: endpoints.delete_endpoint(session, office.project_id, endpoint))

    def look_after(chance: random.Random) -> None:
        office.read(lambda session: health.switch_off_silent(session, 5))
        replay.replay_once(office.database, 10)

    jobs: list[Callable[[random.Random], object]] = [
        lambda _: office.deliver(20),
        lambda _: office.deliver(20),
        change,
        change,
        make_and_delete,
        look_after,
    ]
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(again_and_again, act, seed) for seed, act in enumerate(jobs)]
    for future in running:
        future.result()
    assert len(receiver.messages) > 10
