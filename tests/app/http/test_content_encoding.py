import asyncio
import zlib

import pytest

from app.http.content_encoding import decode
from app.http.problems import Problem

# Two bytes of zlib's header, and blocks of no content, which no limit of decoded bytes ends.
EMPTY_BLOCKS = zlib.compress(b"")[:2] + bytes.fromhex("000000ffff") * 100_000


async def decoded(body: bytes) -> bytes:
    return b"".join([piece async for piece in decode(body, "deflate")])


@pytest.mark.parametrize(
    "body", [EMPTY_BLOCKS, zlib.compress(bytes(10_000_000)), zlib.compress(bytes(range(256)) * 999, 0)]
)
def test_the_event_loop_goes_on_while_much_is_decoded(body: bytes) -> None:
    async def run() -> bool:
        decoding = asyncio.create_task(decoded(body))
        await asyncio.sleep(0)
        goes_on = not decoding.done()
        await asyncio.gather(decoding, return_exceptions=True)
        return goes_on

    assert asyncio.run(run())


def test_blocks_of_no_content_are_no_whole_body() -> None:
    with pytest.raises(Problem, match="one whole deflate stream"):
        asyncio.run(decoded(EMPTY_BLOCKS))
