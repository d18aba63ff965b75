from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image

from app.settings import Settings
from tests.support.service import KEY, WITH_KEY, Server, check_problem, running


@pytest.fixture
def open_server(tmp_path) -> Iterator[Server]:
    """A service without feedback that keeps at most two images; its client sends the key."""
    with running(Settings(home=tmp_path / "home", api_key=KEY, max_feedback=2)) as found:
        found.client.headers.update(WITH_KEY)
        yield found


def drawn(encode, shift: int) -> bytes:
    picture = np.zeros((60, 60), np.uint8)
    picture[10:50, 28:32] = 255
    picture[20 + shift : 24 + shift, 15:45] = 255
    return encode(picture)


def test_feedback_is_stored_counted_relabelled_and_deleted(open_server: Server, seven, encode) -> None:
    client = open_server.client
    answer = client.post("/feedback", files={"file": encode(seven)}, data={"label": "1"})
    body = answer.json()
    assert answer.status_code == 201
    assert list(body) == ["id", "label", "prediction", "model", "created_at", "replaced"]
    assert (body["label"], body["prediction"], body["model"], body["replaced"]) == (1, 7, "v1", False)
    assert len(body["id"]) == 64
    assert abs((datetime.now(UTC) - datetime.fromisoformat(body["created_at"])).total_seconds()) < 60

    again = client.post("/feedback", files={"image": encode(seven, "BMP")}, data={"label": "1"})
    assert (again.status_code, again.json()) == (200, body)
    other = client.post("/feedback", files={"file": encode(seven)}, data={"label": "7"})
    assert (other.status_code, other.json()) == (200, {**body, "label": 7, "replaced": True})

    day = body["created_at"][:10]
    assert client.get("/feedback").json() == {"total": 1, "by_label": {"7": 1}, "by_day": {day: 1}}
    answer = client.delete(f"/feedback/{body['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    check_problem(client.delete(f"/feedback/{body['id']}"), 404, "not-found")
    assert client.get("/feedback").json() == {"total": 0, "by_label": {}, "by_day": {}}


def test_feedback_beyond_the_limit_is_507_and_changes_nothing(open_server: Server, encode) -> None:
    client = open_server.client
    pictures = [drawn(encode, shift) for shift in (0, 8, 16)]
    stored = [client.post("/feedback", files={"file": picture}, data={"label": "4"}) for picture in pictures]
    assert [answer.status_code for answer in stored] == [201, 201, 507]
    body = check_problem(stored[2], 507, "storage-full", "INKLING_MAX_FEEDBACK=2")
    assert body["limit"] == 2
    assert client.get("/feedback").json()["total"] == 2
    assert client.post("/feedback", files={"file": pictures[0]}, data={"label": "9"}).json()["replaced"]
    client.delete(f"/feedback/{stored[0].json()['id']}")
    assert client.post("/feedback", files={"file": pictures[2]}, data={"label": "4"}).status_code == 201


@pytest.mark.parametrize("label", ["", "x", "10", "-1", "7.0", "७"])
def test_a_label_that_is_not_a_digit_is_422(label: str, open_server: Server, seven, encode) -> None:
    answer = open_server.client.post("/feedback", files={"file": encode(seven)}, data={"label": label})
    assert check_problem(answer, 422, "bad-parameter")["field"] == "label"
    assert open_server.client.get("/feedback").json()["total"] == 0


def test_bodies_without_a_valid_image_and_label_are_refused(open_server: Server, seven, encode) -> None:
    client, picture = open_server.client, encode(seven)
    check_problem(client.post("/feedback", files={"file": picture}), 422, "wrong-field", "'label'")
    labels = {"label": ["1", "2"]}
    check_problem(client.post("/feedback", files={"file": picture}, data=labels), 422, "wrong-field", "got 2")
    answer = client.post("/feedback", files={"picture": picture}, data={"label": "7"})
    check_problem(answer, 422, "wrong-field", "'file'", "'picture'")
    check_problem(client.post("/feedback", content=picture), 422, "wrong-field", "'label'", "curl")
    answer = client.post("/feedback", files={"file": b"words"}, data={"label": "7"})
    check_problem(answer, 415, "unknown-format", "text")
    blank = encode(Image.new("L", (50, 50), 255))
    check_problem(client.post("/feedback", files={"file": blank}, data={"label": "7"}), 422, "nothing-drawn")
    assert client.get("/feedback").json()["total"] == 0
