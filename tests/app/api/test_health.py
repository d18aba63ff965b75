from app.inference import Inference
from app.settings import Settings
from models.errors import InferenceFailed
from tests.support.service import Server, check_problem, running


def test_health_names_the_model_and_uptime(server: Server) -> None:
    for path in ("/health", "/health/ready"):
        answer = server.client.get(path)
        assert answer.status_code == 200
        body = answer.json()
        assert list(body) == ["status", "model", "device", "runtime", "uptime_seconds"]
        assert (body["status"], body["model"]) == ("ok", "v1")
        assert body["uptime_seconds"] > 0


def test_the_live_probe_answers(server: Server) -> None:
    assert server.client.get("/health/live").json() == {"status": "live"}


def test_a_failing_device_makes_the_service_unready_until_it_works_again(tmp_path, monkeypatch, seven, encode) -> None:
    with running(Settings(home=tmp_path / "home")) as found:
        service: Inference = found.app.state.inference
        predictor = service.batcher.predictor
        whole = predictor.predict

        def fail(_: object) -> list:
            raise InferenceFailed("the device is gone")

        monkeypatch.setattr(predictor, "predict", fail)
        answer = found.client.post("/predict", content=encode(seven))
        check_problem(answer, 503, "not-ready", "the device is gone")
        for path in ("/health", "/health/ready"):
            answer = found.client.get(path)
            check_problem(answer, 503, "not-ready", "the device is gone")
            assert "retry-after" in answer.headers
        assert found.client.get("/health/live").status_code == 200

        monkeypatch.setattr(predictor, "predict", whole)
        assert found.client.get("/health/ready").status_code == 200
        assert found.predict(encode(seven))["digit"] == 7


def test_an_unexpected_error_reveals_nothing_and_keeps_the_connection(tmp_path, monkeypatch, seven, encode) -> None:
    with running(Settings(home=tmp_path / "home")) as found:

        def fail(_: bytes) -> None:
            raise KeyError("a secret")

        monkeypatch.setattr(found.app.state.inference, "submit", fail)
        answer = found.client.post("/predict", content=encode(seven))
        check_problem(answer, 500, "internal-error")
        assert "secret" not in answer.text


def test_health_names_the_device(tmp_path) -> None:
    with running(Settings(home=tmp_path / "home", device="cpu")) as found:
        assert found.client.get("/health").json()["device"] == "cpu"
