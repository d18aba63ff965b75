from pathlib import Path

from app.settings import Settings
from tests.support.service import Server, running


def test_the_openapi_document_lists_every_call_of_the_interface(server: Server) -> None:
    document = server.client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        *("/predict", "/predict/batch", "/health", "/health/ready", "/health/live"),
        *("/feedback", "/feedback/{id}", "/retrain", "/retrain/{id}", "/retrain/{id}/events"),
        *("/models", "/models/{version}", "/models/{version}/activate"),
    }
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream"}


def test_behind_a_proxy_the_document_names_the_prefix_and_the_pages_answer(tmp_path: Path) -> None:
    with running(Settings(home=tmp_path / "home", root_path="/digits")) as found:
        assert found.client.get("/openapi.json").json()["servers"] == [{"url": "/digits"}]
        for path in ("/", "/page/main.js", "/docs", "/docs/viewer.js"):
            assert found.client.get(path).status_code == 200, path
