import gc
import socket
from typing import Any

import pytest

from app.processes.sockets import PortTaken, listen
from tests.support.service import closing


def resolve_all_names_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    resolve = socket.getaddrinfo

    def found(host: str, port: int, **options: Any) -> list[Any]:
        return [entry for address in addresses for entry in resolve(address, port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", found)


def test_a_name_means_all_its_addresses_on_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_all_names_to(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1")
    with closing(listen("localhost", 0)) as sockets:
        (first, port), (second, same_port) = [listening.getsockname() for listening in sockets]
        assert (first, second, port) == ("127.0.0.1", "127.0.0.2", same_port)
        monkeypatch.undo()
        for address in (first, second):
            socket.create_connection((address, port), timeout=30).close()


def test_an_address_that_the_machine_lacks_is_left_out_unless_it_is_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_all_names_to(monkeypatch, "192.0.2.1", "127.0.0.1")  # RFC 5737: an address for documentation
    with closing(listen("localhost", 0)) as sockets:
        assert [listening.getsockname()[0] for listening in sockets] == ["127.0.0.1"]
    monkeypatch.undo()
    with pytest.raises(PortTaken, match=r"192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)


def test_no_socket_stays_open_when_one_address_of_a_name_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        resolve_all_names_to(monkeypatch, "127.0.0.1", "127.0.0.2")
        with pytest.raises(PortTaken, match="in use"):
            listen("localhost", port)
        monkeypatch.undo()
        gc.collect()  # a socket that was not closed would warn here, which is an error
        for listening in listen("127.0.0.1", port):
            listening.close()
