import shutil
import threading
from pathlib import Path

import httpx
import pytest

from app import inference
from app.inference import Inference
from app.settings import Settings
from models import cpus
from models.preprocessing import decoder_pool
from models.registry.registry import ModelRegistry
from models.registry.version_files import WEIGHTS
from tests.support.decoders import stalled_decoders
from tests.support.service import check_problem, running
from tests.support.versions import another
from tests.support.waiting import wait_until
from training.data.mnist import Digits


def test_an_activated_version_takes_over_without_a_failed_request(tmp_path: Path, seven, encode) -> None:
    saved = ModelRegistry(tmp_path / "home")
    picture = encode(seven)
    with running(Settings(home=tmp_path / "home")) as server:
        answers: list[httpx.Response] = []
        stop = threading.Event()

        def post() -> None:
            with httpx.Client(base_url=server.url, timeout=30) as client:
                while not stop.is_set():
                    answers.append(client.post("/predict", content=picture))

        threads = [threading.Thread(target=post) for _ in range(3)]
        for thread in threads:
            thread.start()
        another(saved)
        for name in ("v2", "v1", "v2"):
            saved.activate(name)
            wait_until(lambda name=name: server.client.get("/health").json()["model"] == name)
            seen = len(answers)
            wait_until(lambda seen=seen: len(answers) > seen + 5)
        stop.set()
        for thread in threads:
            thread.join()
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.json()["model"] for answer in answers} == {"v1", "v2"}
        assert server.predict(picture)["model"] == "v2"


def test_both_runtimes_give_the_same_answers(tmp_path: Path, test_digits: Digits, encode) -> None:
    """The compiled network computes in int8: of 2,000 digits, none has a confidence further than 0.04 from its own."""
    answers = {}
    for runtime in ("onnxruntime", "torch"):
        with running(Settings(home=tmp_path / "home", runtime=runtime)) as server:
            assert server.client.get("/health").json()["runtime"].startswith(runtime)
            answers[runtime] = [server.predict(encode(tile)) for tile in test_digits.images[:200].numpy()]
    other_verdicts = 0
    for compiled, weights in zip(*answers.values(), strict=True):
        assert compiled["digit"] == weights["digit"]
        assert compiled["probabilities"] == pytest.approx(weights["probabilities"], abs=0.05)
        other_verdicts += compiled["verdict"] != weights["verdict"]
    assert other_verdicts <= 2, "of digits at the bound of a verdict"


def test_a_version_that_does_not_load_is_refused_and_the_running_one_stays(
    tmp_path: Path, seven, encode, caplog
) -> None:
    saved = ModelRegistry(tmp_path / "home")
    with running(Settings(home=tmp_path / "home")) as server:
        shutil.copytree(saved.folder / "v1", saved.folder / "v2")
        (saved.folder / "v2" / WEIGHTS).write_bytes(b"broken")
        (saved.folder / "active").write_text("v2\n")
        wait_until(lambda: "v1 stays active" in caplog.text)
        assert server.predict(encode(seven))["model"] == "v1"
        another(saved)
        saved.activate("v3")
        wait_until(lambda: server.client.get("/health").json()["model"] == "v3")
        (saved.folder / "active").write_bytes(b"\xff\xfe")
        wait_until(lambda: "v3 stays active: " in caplog.text)
        (saved.folder / "active").unlink()
        wait_until(lambda: "v3 stays active: no version is active" in caplog.text)
        assert server.predict(encode(seven))["model"] == "v3"


def test_a_refused_version_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setattr(inference, "RETRY_SECONDS", 0.1)
    saved = ModelRegistry(tmp_path / "home")
    with running(Settings(home=tmp_path / "home")) as server:
        shutil.copytree(saved.folder / "v1", saved.folder / "v2")
        weights = (saved.folder / "v2" / WEIGHTS).rename(tmp_path / WEIGHTS)
        (saved.folder / "active").write_text("v2\n")
        wait_until(lambda: "v1 stays active" in caplog.text)
        weights.rename(saved.folder / "v2" / WEIGHTS)
        wait_until(lambda: server.client.get("/health").json()["model"] == "v2")
    assert caplog.text.count("v1 stays active") == 1


def test_a_large_image_without_a_free_decoder_is_refused_and_delays_no_other(
    tmp_path, monkeypatch, seven, encode
) -> None:
    monkeypatch.setattr(decoder_pool, "THREAD_WAIT_SECONDS", 0.1)
    with running(Settings(home=tmp_path / "home", workers=1)) as server:
        found: Inference = server.app.state.inference
        large, tile = encode(seven.resize((600, 600))), encode(seven.resize((28, 28)))
        answers: list[httpx.Response] = []
        occupying = [
            threading.Thread(
                target=lambda: answers.append(httpx.post(f"{server.url}/predict", content=large, timeout=60))
            )
            for _ in range(cpus.usable())
        ]
        with stalled_decoders(monkeypatch):
            for thread in occupying:
                thread.start()
            wait_until(lambda: found.batcher.admitted == len(occupying))
            refused = server.client.post("/predict", content=large)
            assert check_problem(refused, 503, "overloaded", "took longer than 0.1 s")["limit"] == len(occupying)
            batch = server.client.post("/predict/batch", files=[("files", large), ("files", b"no picture")])
            assert [result["error"]["status"] for result in batch.json()["results"]] == [503, 415]
            assert found.batcher.admitted == len(occupying)
        for thread in occupying:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * len(occupying)
        assert server.predict(tile)["digit"] == 7
        assert found.batcher.admitted == 0
