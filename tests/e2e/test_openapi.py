"""Schemathesis calls a running service by its OpenAPI document, with data that fits the document and that does not."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.service import KEY, Server

pytestmark = pytest.mark.slow


def test_no_call_of_the_document_is_a_server_error(
    serve: Callable[..., Server], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jobs are started, too; they fail for want of a data set. Statuses that the document lacks are printed."""
    data = {"INKLING_DATA": str(tmp_path / "none"), "INKLING_DOWNLOAD": "false"}
    server = serve(INKLING_API_KEY=KEY, INKLING_WORKERS="2", **data)
    document = server.client.get("/openapi.json").json()
    har = tmp_path / "calls.har"
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "run", f"{server.url}/openapi.json", "--header", f"X-API-Key: {KEY}"]
    command += ["--checks", "not_a_server_error", "--continue-on-failure", "--max-examples", "200", "--no-color"]
    command += ["--request-timeout", "30", "--report", "har", "--report-har-path", har]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stdout
    assert server.client.get("/health/ready").status_code == 200
    assert server.log is not None
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    loggers = {line["logger"].split(".")[0] for line in lines if line["event"] != "request"}
    assert loggers <= {"app", "models"}, "a client makes a library write to the log"
    assert {line["level"] for line in lines} == {"info"}

    calls = Counter(
        (
            call["request"]["method"],
            template(urlsplit(call["request"]["url"]).path, document),
            call["response"]["status"],
        )
        for call in json.loads(har.read_text())["log"]["entries"]
    )
    assert set(document["paths"]) <= {path for _, path, _ in calls}
    undeclared = [
        f"  {method} {path}: {status}, {count} times"
        for (method, path, status), count in sorted(calls.items())
        if str(status) not in document["paths"].get(path, {}).get(method.lower(), {}).get("responses", [str(status)])
    ]
    with capsys.disabled():
        head = f"{calls.total():,} calls; statuses that the OpenAPI document does not declare:"
        sys.stdout.write("\n".join(["", head, *undeclared, ""]))


def template(path: str, document: dict[str, Any]) -> str:
    """The path of the document that a request's path belongs to, the one with the fewest parameters."""
    templates = sorted(document["paths"], key=lambda known: known.count("{"))
    return next((known for known in templates if re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path)), path)
