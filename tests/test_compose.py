"""The container files, read as structures: a container engine is not everywhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from styleflow.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
DEVELOPMENT_ONLY = {"STYLEFLOW_EGRESS_ALLOW_HTTP", "STYLEFLOW_EGRESS_ALLOW_LOOPBACK", "STYLEFLOW_COMPAT_PREDICT"}


def stages() -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Stage → the image or stage it starts from, and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    name = ""
    for line in (line.strip() for line in DOCKERFILE.splitlines()):
        if not line or line.startswith("#"):
            continue
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            source, _, name = rest.partition(" AS ")
            found[name] = (source, [])
        else:
            found[name][1].append((keyword, rest.strip()))
    return found


def lineage(stage: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of the stages it starts from."""
    source, own = stages()[stage]
    return (lineage(source) if source in stages() else []) + own


def sources(stage: str) -> set[str]:
    """The stages from which files get into a stage, directly or through those it starts from."""
    return {
        match[1]
        for keyword, rest in lineage(stage)
        if keyword == "COPY" and (match := re.search(r"--from=(\S+)", rest))
    }


def one_shot(service: dict[str, Any]) -> bool:
    return service.get("restart") == "no"


def own_images() -> list[str]:
    return [name for name, service in SERVICES.items() if "build" in service]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_health_check_or_ends_by_itself(name: str) -> None:
    service = SERVICES[name]
    assert one_shot(service) != bool((service.get("healthcheck") or {}).get("test"))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_dependency_exists_and_is_waited_for_in_a_way_it_can_fulfil(name: str) -> None:
    for other, wanted in (SERVICES[name].get("depends_on") or {}).items():
        expected = "service_completed_successfully" if one_shot(SERVICES[other]) else "service_healthy"
        assert wanted["condition"] == expected


@pytest.mark.parametrize("name", own_images())
def test_every_setting_that_a_service_is_given_exists(name: str) -> None:
    known = {f"STYLEFLOW_{field.upper()}" for field in Settings.model_fields}
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith("STYLEFLOW_")}
    assert given <= known
    assert not given & DEVELOPMENT_ONLY


@pytest.mark.parametrize("name", own_images())
def test_every_build_target_is_a_stage(name: str) -> None:
    assert SERVICES[name]["build"]["target"] in stages()


def test_secrets_have_no_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "STYLEFLOW_SECRET_KEY", "S3_SECRET_KEY"):
        assert re.findall(rf"\$\{{{name}[^}}]*\}}", text)
        assert set(re.findall(rf"\$\{{{name}([^}}]*)\}}", text)) == {":?"}


def test_every_volume_that_is_mounted_is_declared_and_none_is_left_over() -> None:
    mounted = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


def test_all_lanes_are_served_and_one_worker_is_there_for_realtime_alone() -> None:
    lanes = [
        shlex.join(service["command"]).partition("--lanes ")[2]
        for service in SERVICES.values()
        if "--lanes" in service.get("command", [])
    ]
    assert lanes == ["realtime"]
    assert '"realtime,standard,bulk"' in next(rest for keyword, rest in lineage("worker") if keyword == "CMD")


def test_the_gpu_is_asked_for_only_under_its_profile() -> None:
    with_device = {name for name, service in SERVICES.items() if "deploy" in service}
    with_profile = {name for name, service in SERVICES.items() if service.get("profiles") == ["gpu"]}
    assert with_device == with_profile == {"worker-gpu"}


def test_no_image_floats() -> None:
    for service in SERVICES.values():
        if "build" not in service:
            assert re.search(r":\d", service["image"])


@pytest.mark.parametrize("stage", ["api", "worker"])
def test_an_image_runs_without_rights_and_tells_how_it_is(stage: str) -> None:
    keywords = [keyword for keyword, _ in lineage(stage)]
    assert "HEALTHCHECK" in keywords
    assert [rest for keyword, rest in lineage(stage) if keyword == "USER"] == ["styleflow"]


def test_the_api_image_gets_no_package_of_the_detector() -> None:
    assert sources("api") == {"api-packages", "weights"}
    installs = [rest for keyword, rest in lineage("api") + lineage("api-packages") if keyword == "RUN"]
    extras = set(re.findall(r"--extra (\S+)", " ".join(installs)))
    assert extras == {"service"}
    packs_only = [rest for keyword, rest in lineage("api") if keyword == "COPY" and "--from=weights" in rest]
    assert packs_only == ["--from=weights /packs /packs"]


def test_the_worker_image_gets_service_and_detector() -> None:
    installs = " ".join(rest for keyword, rest in lineage("worker-packages") if keyword == "RUN")
    assert set(re.findall(r"--extra (\S+)", installs)) == {"service", "detector"}


def test_every_extra_that_is_installed_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    makefile = (ROOT / "Makefile").read_text()
    named = {name for group in re.findall(r"\.\[([\w,]+)\]", makefile) for name in group.split(",")}
    assert named | set(re.findall(r"--extra (\S+)", DOCKERFILE)) <= set(extras)


def test_everything_that_the_images_copy_is_in_the_tree_and_in_the_build_s_context() -> None:
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for _, instructions in stages().values()
        for keyword, rest in instructions
        if keyword == "COPY" and "--from" not in rest
        for word in rest.split()[:-1]
    }
    assert copied <= admitted
    assert all((ROOT / name).exists() for name in copied)


def test_ci_runs_what_a_developer_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().strip().splitlines()[-1] == "exec make test"
