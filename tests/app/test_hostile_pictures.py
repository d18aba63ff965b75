import json

import pytest

from models.contract import PROBLEM_TYPES
from tests.support.hostile_pictures import COMPLEX, HOSTILE, LARGE


@pytest.mark.processes
def test_hostile_pictures_are_refused_by_name_and_cost_the_service_nothing(serve, seven, encode) -> None:
    server = serve(INKLING_WORKERS="1")
    found, expected = {}, {}
    for name, (make, problem) in {**HOSTILE, **LARGE}.items():
        answer = server.client.post("/predict", content=make())
        found[name] = answer.json()["type"].removeprefix("/problems/")
        assert answer.status_code == PROBLEM_TYPES[found[name]].status, name
        slow = name in LARGE and found[name] == COMPLEX  # a slow processor does not decode it in time
        expected[name] = COMPLEX if slow else problem
        assert server.client.get("/health/live").status_code == 200
    assert found == expected
    assert server.predict(encode(seven))["digit"] == 7
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
