import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from models import subprocesses
from models.errors import CorruptPicture, NothingDrawn, Overloaded, PictureError, TooComplex
from models.preprocessing import decoder_process
from models.preprocessing.decode import decode
from models.preprocessing.decoder_process import DecoderProcess
from models.preprocessing.file_structure import read_structure
from models.preprocessing.normalise import normalise
from tests.support.environment import ROOT
from tests.support.hostile_pictures import HOSTILE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes
LZMA_TILE = "TIFF, 28 x 28 in a tile of 12,000 x 12,000, LZMA"


@pytest.fixture
def decoder() -> Iterator[DecoderProcess]:
    found = DecoderProcess(memory=264_000_000)
    yield found
    found.close()


@pytest.fixture
def stopped(decoder: DecoderProcess, seven, encode) -> Iterator[tuple[int, list[PictureError]]]:
    """The id of a process that decodes an image and was stopped meanwhile, and the error to which that leads."""
    file = read_structure(encode(seven, "TIFF"))
    decoder.decode(file)
    process, errors = decoder._process.pid, []
    os.kill(process, signal.SIGSTOP)

    def run() -> None:
        try:
            decoder.decode(file)
        except PictureError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: unread_bytes(decoder._connection.fileno()) > 0)
    yield process, errors
    thread.join()


def unread_bytes(descriptor: int) -> int:
    """How much of what was sent through this socket the other end has not received (Linux)."""
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)))[0]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_it_gives_the_tile_that_this_process_would_make(kind: str, decoder, seven, encode) -> None:
    data = encode(seven.convert("RGB"), kind)
    tile, expected = decoder.decode(read_structure(data)), normalise(decode(data))
    assert (tile.pixels == expected.pixels).all()
    assert tile.steps == expected.steps


def test_errors_keep_their_class_message_and_members(decoder, seven, encode) -> None:
    with pytest.raises(NothingDrawn, match="no pixel differs"):
        decoder.decode(read_structure(encode(seven.point(lambda _: 255), "TIFF")))
    file = read_structure(encode(seven, "TIFF"))
    with pytest.raises(CorruptPicture, match="TIFF"):
        decoder.decode(type(file)("TIFF", file.data[:4000], 280, 280, 0))
    assert decoder.decode(file)


def test_the_time_of_an_image_is_limited_and_the_next_one_is_decoded(decoder, seven, encode) -> None:
    with pytest.raises(TooComplex, match=r"longer than 0\.25 s"):
        decoder.decode(read_structure(HOSTILE[LZMA_TILE][0]()))
    assert decoder.decode(read_structure(encode(seven, "TIFF")))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process allocates")
def test_the_memory_of_an_image_is_limited_and_the_next_one_is_decoded(decoder, seven, encode) -> None:
    small = DecoderProcess(memory=30_000_000)
    try:
        with pytest.raises(TooComplex, match="memory"):
            small.decode(read_structure(encode(seven.resize((7000, 7000)), "TIFF", compression="tiff_deflate")))
        assert small.decode(read_structure(encode(seven, "TIFF")))
    finally:
        small.close()


@pytest.mark.parametrize(
    "number, kind", [(signal.SIGSEGV, CorruptPicture), (signal.SIGKILL, TooComplex), (signal.SIGPROF, TooComplex)]
)
def test_a_crash_is_an_error_of_its_image_alone(number, kind, stopped, decoder, seven, encode) -> None:
    process, errors = stopped
    os.kill(process, number)
    os.kill(process, signal.SIGCONT)
    wait_until(lambda: bool(errors))
    assert type(errors[0]) is kind
    assert decoder.decode(read_structure(encode(seven, "TIFF")))


def test_killing_it_ends_the_work(stopped, decoder) -> None:
    process, errors = stopped
    decoder.kill()
    wait_until(lambda: bool(errors))
    assert not is_running(process)


@pytest.mark.parametrize("side", [28, 1600])
def test_one_that_neither_reads_nor_answers_is_replaced(side: int, decoder, monkeypatch, seven, encode) -> None:
    monkeypatch.setattr(decoder_process, "WALL_SECONDS", 1.0)
    file = read_structure(encode(seven.resize((side, side)), "TIFF"))
    decoder.decode(file)
    process = decoder._process.pid
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(Overloaded, match="did not end"):
        decoder.decode(file)
    assert not is_running(process)
    monkeypatch.undo()
    assert decoder.decode(file)


def test_it_ends_with_its_parent(seven, encode, tmp_path) -> None:
    (tmp_path / "seven.tiff").write_bytes(encode(seven, "TIFF"))
    program = (
        "import os, pathlib, signal\n"
        "from models.preprocessing.decoder_process import DecoderProcess\n"
        "from models.preprocessing.file_structure import read_structure\n"
        "decoder = DecoderProcess(264_000_000)\n"
        f"decoder.decode(read_structure(pathlib.Path({str(tmp_path / 'seven.tiff')!r}).read_bytes()))\n"
        "print(decoder._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    wait_until(lambda: not is_running(int(found.stdout)))


def test_it_gets_no_secret_and_imports_no_torch(decoder, monkeypatch, seven, encode) -> None:
    monkeypatch.setenv("INKLING_API_KEY", "a key that nobody may see")
    decoder.decode(read_structure(encode(seven, "TIFF")))
    process = Path(f"/proc/{decoder._process.pid}")
    assert b"a key that" not in (process / "environ").read_bytes()
    assert "libtorch" not in (process / "maps").read_text()


def test_without_a_free_process_an_image_is_refused_as_overload(decoder, monkeypatch, seven, encode) -> None:
    monkeypatch.setattr(subprocesses, "ROOT", Path("/nowhere"))
    with pytest.raises(Overloaded, match="no process can be started"):
        decoder.decode(read_structure(encode(seven, "TIFF")))
