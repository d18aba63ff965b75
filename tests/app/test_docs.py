import re

from tests.conftest import Server


def test_the_viewer_needs_no_other_host(server: Server) -> None:
    page = server.client.get("/docs")
    assert page.status_code == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    files = [link for link in links if not link.startswith("data:")]
    assert len(files) == 3
    for link in files:
        assert "//" not in link
        assert server.client.get(f"/{link}").status_code == 200


def test_openapi_describes_the_calls(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    assert set(document["paths"]) == {"/predict", "/health", "/health/ready", "/health/live"}
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream"}


def test_files_outside_the_folder_are_not_served(server: Server) -> None:
    for path in ("/docs/../docs.py", "/docs/%2e%2e/docs.py", "/docs//etc/passwd"):
        assert server.client.get(path).status_code == 404
