"""`styleflow webhooks` against a real service and a real receiver."""

from __future__ import annotations

from tests.cli.remote.conftest import Caller
from tests.stack import eventually, free_port


def test_an_endpoint_is_made_pinged_told_and_unsubscribed(caller: Caller) -> None:
    (made,) = caller.json(
        "webhooks", "create", caller.installation.receiver.url, "--event", "job.*", "--event", "batch.*"
    )
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["job.*", "batch.*"]
    (delivery,) = caller.json("webhooks", "ping", made["id"], "--wait")
    assert (delivery["state"], delivery["event_type"]) == ("delivered", "webhook.ping")

    (line,) = caller.json("jobs", "submit", str(caller.video()), "--wait", "--lane", "realtime")
    job = line["job"]["id"]
    eventually(lambda: "job.succeeded" in caller.installation.receiver.events(job))
    eventually(lambda: len(caller.json("webhooks", "deliveries", made["id"], "--event", "job.succeeded")) == 1)
    (sent,) = caller.json("webhooks", "deliveries", made["id"], "--event", "job.succeeded")
    (again,) = caller.json("webhooks", "redeliver", sent["id"])
    assert again["event_id"] == sent["event_id"]
    eventually(lambda: caller.installation.receiver.events(job).count("job.succeeded") == 2)

    (listed,) = caller.json("webhooks", "list")
    assert (listed["id"], listed.get("secret")) == (made["id"], None), "the secret is shown once"
    assert caller.json("webhooks", "delete", made["id"]) == [{"id": made["id"], "state": "deleted"}]
    assert caller.run("webhooks", "show", made["id"]).exit_code == 3


def test_a_receiver_that_is_away_is_told_by_the_exit_code_and_by_what_went_wrong(caller: Caller) -> None:
    (made,) = caller.json("webhooks", "create", f"http://127.0.0.1:{free_port()}/hook")
    done = caller.run("webhooks", "ping", made["id"], "--wait")
    assert done.exit_code == 1
    assert "last answer" in done.stdout
    delivery, *_ = caller.json("webhooks", "deliveries", made["id"])
    shown = caller.run("webhooks", "delivery", delivery["id"]).stdout
    assert "webhook.ping" in shown
    assert "next attempt" in shown


def test_people_see_the_secret_once_and_an_event_that_there_is_not_is_refused(caller: Caller) -> None:
    made = caller.run("webhooks", "create", caller.installation.receiver.url, "--description", "moderation")
    assert "whsec_" in made.stdout
    endpoint = made.stdout.split()[1]
    shown = caller.run("webhooks", "show", endpoint).stdout
    assert ("whsec_" in shown, "moderation" in shown) == (False, True)
    refused = caller.run("webhooks", "create", caller.installation.receiver.url, "--event", "job.sucseeded")
    assert (refused.exit_code, "matches no event" in refused.stderr) == (2, True)
