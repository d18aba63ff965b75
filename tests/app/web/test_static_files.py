import hashlib
import re

import pytest

from app.web.static_files import INDEX, STATIC, TYPES
from tests.support.connection import connect
from tests.support.service import Server, check_problem

PAGES = {"/": "page", "/docs": "docs"}
FILES = sorted(path for path in STATIC.glob("*/*") if path.suffix in TYPES and path.name != INDEX)


@pytest.mark.parametrize(("url", "folder"), PAGES.items())
def test_a_page_has_a_strict_policy_and_contains_nothing_that_the_policy_forbids(
    url: str, folder: str, server: Server
) -> None:
    answer = server.client.get(url)
    assert (answer.status_code, answer.content) == (200, (STATIC / folder / INDEX).read_bytes())
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=|javascript:", answer.text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_file_is_served_byte_for_byte_with_its_type(path, server: Server) -> None:
    answer = server.client.get(f"/{path.parent.name}/{path.name}")
    assert (answer.status_code, answer.content) == (200, path.read_bytes())
    expected = TYPES[path.suffix] + ("; charset=utf-8" if TYPES[path.suffix].startswith("text/") else "")
    assert answer.headers["content-type"] == expected
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["etag"] == f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'


@pytest.mark.parametrize("url", PAGES)
def test_the_links_of_a_page_are_relative_and_lead_to_files(url: str, server: Server) -> None:
    links = re.findall(r'<(?:link|script)[^>]*(?:src|href)="([^"]+)"', server.client.get(url).text)
    assert len(links) >= 3
    for link in links:
        assert not re.match(r"/|\w+:", link)
        assert server.client.get(f"/{link}").status_code == 200


def test_modules_import_only_modules_that_are_served() -> None:
    for path in (STATIC / "page").glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text()):
            assert path.with_name(name) in FILES


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=0-1,3-4", "bytes=99999999-", "bytes=5-2", "pages=1"])
def test_a_file_is_sent_whole_whatever_range_is_asked_for(wanted: str, server: Server) -> None:
    answer = server.client.get("/page/main.js", headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, (STATIC / "page/main.js").read_bytes())
    assert answer.headers["accept-ranges"] == "none"


def test_a_file_that_has_not_changed_is_not_sent_again(server: Server) -> None:
    for url in ("/", "/page/main.js", "/docs/swagger-ui.css"):
        first = server.client.get(url)
        etag = first.headers["etag"]
        for condition in (etag, f'"another", {etag}', f"W/{etag}"):
            again = server.client.get(url, headers={"If-None-Match": condition})
            assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
            assert again.headers["etag"] == etag
            assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
        assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
        assert server.client.get(url, headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        *("/page/", "/page/missing.js", "/page/index.html", "/docs/index.html", "/docs/LICENSE"),
        *("/page/%2e%2e%2fstatic_files.py", "/page/%00.js", "/docs/%2e%2e", f"/page/{'a' * 300}.js"),
        *("/docs/../../main.py", "/docs//etc/passwd", "/docs/%2e%2e/%2e%2e/main.py", "/page/..%5cpage.py"),
    ],
)
def test_nothing_else_is_served(path: str, server: Server) -> None:
    with connect(server) as connection:  # a client would resolve the dots before it asks
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
    check_problem(server.client.get("/page/missing.js"), 404, "not-found")
