import json
import subprocess
from pathlib import Path

import jsonschema
import yaml

from app.settings import Settings
from tests.support.environment import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SCHEMA = json.loads((Path(__file__).parent / "compose/compose-spec.json").read_text())


def test_it_keeps_to_the_published_schema() -> None:
    validator = jsonschema.Draft201909Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    wrong = {**COMPOSE, "services": {"inkling": {"imgae": "inkling"}}}
    assert not validator.is_valid(wrong)


def test_what_it_mounts_is_there() -> None:
    """A path that is missing would become an empty folder."""
    sources = [
        volume.partition(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", [])
    ]
    named = {source for source in sources if not source.startswith(".")}
    assert named == set(COMPOSE["volumes"])
    assert [source for source in sources if source not in named and not (DEPLOY / source).exists()] == []
    assert (DEPLOY / COMPOSE["services"]["inkling"]["build"] / "Dockerfile").is_file()


def test_the_service_is_set_up_with_its_own_settings() -> None:
    service = COMPOSE["services"]["inkling"]
    assert {name.removeprefix("INKLING_").lower() for name in service["environment"]} <= set(Settings.model_fields)
    assert service["environment"]["INKLING_API_KEY_FILE"] == f"/run/secrets/{service['secrets'][0]}"
    assert (service["read_only"], service["tmpfs"], service["cap_drop"]) == (True, ["/tmp"], ["ALL"])


def test_the_key_can_not_be_committed() -> None:
    key = DEPLOY / COMPOSE["secrets"]["api-key"]["file"]
    assert subprocess.run(["git", "check-ignore", "-q", key], cwd=ROOT).returncode == 0


def test_only_the_service_is_for_other_machines() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items()}
    assert ports.pop("inkling") == ["8000:8000"]
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)
