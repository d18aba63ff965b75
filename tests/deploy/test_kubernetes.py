import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.settings import Settings
from tests.support.environment import ROOT

FOLDER = ROOT / "deploy/kubernetes"
FILES = sorted(FOLDER.iterdir())
KUBERNETES = "1.37"


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return found


def dockerfile(pattern: str) -> str:
    found = re.search(pattern, (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    return found[1]


POD = manifest("deployment.yaml")["spec"]["template"]
CONTAINER = POD["spec"]["containers"][0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_keeps_to_the_published_schema(path: Path) -> None:
    kubernetes_validate.validate(yaml.safe_load(path.read_text()), KUBERNETES, strict=True)


def test_the_schema_is_strict() -> None:
    wrong = manifest("deployment.yaml")
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="replica"):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_there_are_the_four_and_they_name_each_other() -> None:
    deployment, service = manifest("deployment.yaml"), manifest("service.yaml")
    claim, secret = manifest("volume-claim.yaml"), manifest("secret.yaml.example")
    assert len(FILES) == 4
    assert deployment["spec"]["selector"]["matchLabels"] == POD["metadata"]["labels"] == service["spec"]["selector"]
    volumes = {volume["name"]: volume for volume in POD["spec"]["volumes"]}
    assert volumes["home"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert volumes["key"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert set(volumes) == {mount["name"] for mount in CONTAINER["volumeMounts"]}
    assert {service["spec"]["ports"][0]["targetPort"]} == {port["name"] for port in CONTAINER["ports"]}


def test_one_pod_has_home() -> None:
    spec = manifest("deployment.yaml")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")


def test_it_fits_the_image() -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounts["home"] == dockerfile(r"INKLING_HOME=(\S+)")
    assert mounts["tmp"] == "/tmp"
    uid = int(dockerfile(r"^USER (\d+)"))
    context = POD["spec"]["securityContext"]
    assert [context[name] for name in ("runAsUser", "runAsGroup", "fsGroup")] == [uid] * 3
    assert CONTAINER["ports"][0]["containerPort"] == int(dockerfile(r"^EXPOSE (\d+)")) == Settings().port
    key_file = {variable["name"]: variable["value"] for variable in CONTAINER["env"]}["INKLING_API_KEY_FILE"]
    assert key_file == f"{mounts['key']}/{next(iter(manifest('secret.yaml.example')['stringData']))}"


def test_the_probes_ask_what_they_should() -> None:
    paths = {name: CONTAINER[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health/ready", "liveness": "/health/live", "readiness": "/health/ready"}


def test_it_may_do_nothing_that_it_need_not() -> None:
    assert POD["spec"]["automountServiceAccountToken"] is False
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert set(CONTAINER["resources"]) == {"requests", "limits"}


def test_the_service_s_name_does_not_become_a_setting() -> None:
    """Kubernetes would set INKLING_PORT=tcp://... for a Service called inkling."""
    variable = f"{manifest('service.yaml')['metadata']['name']}_port".upper()
    assert variable.removeprefix("INKLING_").lower() in Settings.model_fields
    assert POD["spec"]["enableServiceLinks"] is False


def test_the_example_holds_no_key() -> None:
    assert manifest("secret.yaml.example")["stringData"] == {"key": ""}
