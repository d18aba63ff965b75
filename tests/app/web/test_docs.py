import re
import socket
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.service import Server, running


def test_the_viewer_needs_no_other_host(server: Server) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert "//" not in link
        assert server.client.get(f"/{link}").status_code == 200


def test_openapi_describes_the_calls(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/predict", "/predict/batch", "/health", "/health/ready", "/health/live"),
        *("/feedback", "/feedback/{id}", "/retrain", "/retrain/{id}", "/retrain/{id}/events"),
        *("/models", "/models/{version}", "/models/{version}/activate"),
    }
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream"}


@pytest.mark.parametrize(
    "path", ["/docs/%2e%2e/%2e%2e/main.py", "/docs/../../main.py", "/docs//etc/passwd", "/docs/LICENSE"]
)
def test_other_files_are_not_served(path: str, server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")


def test_behind_a_proxy_the_document_names_its_prefix(tmp_path: Path) -> None:
    with running(Settings(home=tmp_path / "home", root_path="/digits")) as found:
        assert found.client.get("/openapi.json").json()["servers"] == [{"url": "/digits"}]
        assert found.client.get("/docs").status_code == 200
        assert found.client.get("/docs/viewer.js").status_code == 200
