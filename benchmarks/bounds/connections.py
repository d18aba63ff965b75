"""What connections cost a worker: memory and time of hostile ones, and memory over minutes of load."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from benchmarks import pictures, servers, wrk
from benchmarks.bounds import load
from benchmarks.bounds.setting import Setting
from benchmarks.machine import say
from benchmarks.servers import Server, memory_of
from benchmarks.tables import Target

CROWD, SWAP_SECONDS = 1024, 5
FLOOD_BYTES = 60_000_000
BODIES, BODY_BYTES, BODY_SENT = 100, 10_000_000, 9_900_000
HEADS = 500
PATIENCE_SECONDS = 15
"""How long a client of a flood waits for the server to read on or to close, and how long a slow head is watched."""

_TRAILERS = b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nX\r\n0\r\n"
_LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


def trailers(setting: Setting) -> list[Target]:
    """Trailers without end after a chunked body."""
    sent = _flood(_TRAILERS, b"A: " + b"b" * 20 + b"\r\n")
    return [_growth(setting, "trailers", "trailers without end", 20, sent)]


def pipelining(setting: Setting) -> list[Target]:
    """Requests on one connection, whose client does not read the answers."""
    return [_growth(setting, "pipelining", "pipelined requests without end", 20, _flood(b"", _LIVE))]


def bodies(setting: Setting) -> list[Target]:
    """Bodies of which the last bytes do not come."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES

    def attack(port: int) -> str:
        def send(connection: socket.socket) -> None:
            with contextlib.suppress(OSError):
                connection.sendall(head)
                connection.sendall(bytes(BODY_SENT))
                connection.recv(1)

        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(_connect(port)) for _ in range(BODIES)]
            threads = [threading.Thread(target=send, args=[connection]) for connection in connections]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return f"{BODIES} connections"

    return [_growth(setting, "bodies", f"{BODIES} unfinished bodies of {BODY_SENT / 1e6} MB", 150, attack)]


def heads(setting: Setting) -> list[Target]:
    """Connections that send the head of a request byte by byte."""
    left = HEADS

    def attack(port: int) -> str:
        nonlocal left
        until = time.monotonic() + PATIENCE_SECONDS
        with contextlib.ExitStack() as stack:
            connections = {stack.enter_context(_connect(port)) for _ in range(HEADS)}
            for connection in connections:
                connection.sendall(b"GET / HTTP/1.1\r\nA: ")
                connection.setblocking(False)
            while connections and time.monotonic() < until:
                time.sleep(1)
                connections = {connection for connection in connections if _drip(connection)}
            left = len(connections)
        return f"{left} connections left after {PATIENCE_SECONDS} s"

    growth = _growth(setting, "heads", f"{HEADS} slow heads", 20, attack)
    return [growth, Target(f"slow heads open after {PATIENCE_SECONDS} s", 0, None, [left], True, "{:.0f}")]


def endurance(setting: Setting) -> list[Target]:
    """wrk at 64 and at 1,024 connections, while two versions are activated in turn and a job retrains.

    The service may have as many images in flight as there are connections, so that it refuses none.
    """
    body, targets = pictures.multipart(pictures.tile()), []
    settings = {"WORKERS": "1", "MAX_CONCURRENT_IMAGES": str(2 * CROWD), "DATA": str(setting.data.resolve())}
    with servers.inkling("endurance", setting.folder, settings, {setting.server_core}) as server:
        server.first_answer("/predict", body)
        lasting = server.members()  # without the trainer
        versions, names = load.two_versions(setting.folder / "home-endurance")
        job = server.client.post("/retrain", json={"use_feedback": False, "activate": "manual"}).json()
        for connections in (64, CROWD):
            say(f"{connections} connections")
            sizes: list[int] = []
            url, seconds, cores = server.url + "/predict", 30 * setting.minutes, {setting.load_core}
            with wrk.running(url, body, connections, seconds, cores) as generator:
                while generator.poll() is None:
                    time.sleep(1)
                    sizes.append(sum(memory_of(process, "rss") for process in lasting))
                    if len(sizes) % SWAP_SECONDS == 0:
                        versions.activate(names[len(sizes) // SWAP_SECONDS % 2])
                answered = wrk.parse(generator.communicate()[0])
            state = server.ask(f"/retrain/{job['id']}").json()["state"]
            settled = len(sizes) // 4
            growth = (max(sizes[settled:]) - sizes[settled]) / 1e6
            name = f"growth of memory at {connections:,} connections, MB"
            note = f"from {sizes[settled] / 1e6:.0f} MB; {answered.rate * seconds:,.0f} answers, all 200; job {state}"
            targets.append(Target(name, 30, None, [growth], True, "{:.1f}", note))
        server.client.delete(f"/retrain/{job['id']}")
    return targets


def _growth(setting: Setting, name: str, what: str, bound: float, attack: Callable[[int], str]) -> Target:
    """The largest growth of a worker's resident memory while `attack`, which gets the port, runs."""
    with setting.inkling(name) as server:
        server.wait_ready()
        before = most = max(server.memory())
        notes: list[str] = []
        thread = threading.Thread(target=lambda: notes.append(attack(server.port)))
        say(f"sending {what}")
        thread.start()
        while thread.is_alive():
            most = max(most, *server.memory())
            thread.join(0.1)
        after = _live(server)
    note = "; ".join([f"from {before / 1e6:.0f} MB", *notes, after])
    return Target(f"growth of a worker by {what}, MB", bound, None, [(most - before) / 1e6], True, "{:.1f}", note)


def _flood(begin: bytes, repeated: bytes) -> Callable[[int], str]:
    """Sends bytes until FLOOD_BYTES are sent, or the server closes the connection or reads no further."""

    def attack(port: int) -> str:
        piece, sent, end = repeated * (100_000 // len(repeated)), 0, "all"
        with _connect(port) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            connection.sendall(begin)
            try:
                while sent < FLOOD_BYTES:
                    sent += connection.send(piece[sent % len(repeated) :])
            except TimeoutError:
                end = "the server reads no further"
            except OSError:
                end = "the server closes the connection"
        return f"{sent / 1e6:.1f} MB sent: {end}"

    return attack


def _drip(connection: socket.socket) -> bool:
    """Sends one more byte. Whether the server keeps the connection open."""
    try:
        connection.send(b"a")
        return bool(connection.recv(4096))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)


def _live(server: Server) -> str:
    return f"/health/live answers {server.ask('/health/live').status_code}"
