from collections.abc import Iterator
from pathlib import Path

import pytest

from app.settings import Settings
from tests.support.service import KEY, WITH_KEY, Server, serving


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Server]:
    """A service without a job runner, so that the test says what becomes of a job; its client has the key."""
    with serving(Settings(home=tmp_path / "home", api_key=KEY)) as found:
        found.client.headers.update(WITH_KEY)
        yield found
