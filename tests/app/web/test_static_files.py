import re

import pytest

from app.web import docs, page
from tests.support.service import Server, check_problem

PAGES = {"/": page.FOLDER, "/docs": docs.FOLDER}


@pytest.mark.parametrize("url", PAGES)
def test_a_page_has_a_strict_policy_and_nothing_that_it_forbids(url: str, server: Server) -> None:
    answer = server.client.get(url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert not re.search(r"<style|<script(?![^>]* src=)|\sstyle=|\son\w+=|javascript:", answer.text)


@pytest.mark.parametrize("url", PAGES)
def test_its_files_are_there_below_relative_urls(url: str, server: Server) -> None:
    links = re.findall(r'<(?:link|script)[^>]*(?:src|href)="([^"]+)"', server.client.get(url).text)
    assert len(links) >= 3
    for link in links:
        assert not re.match(r"/|\w+:", link)
        answer = server.client.get(f"/{link}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_modules_import_only_modules_that_are_served(server: Server) -> None:
    for path in page.FOLDER.glob("*.js"):
        for name in re.findall(r'from "\./([\w.]+)"', path.read_text()):
            assert server.client.get(f"/page/{name}").headers["content-type"] == "text/javascript; charset=utf-8"


def test_what_did_not_change_is_not_sent_again(server: Server) -> None:
    first = server.client.get("/page/main.js")
    again = server.client.get("/page/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert server.client.get("/page/main.js", headers={"If-None-Match": '"another"'}).status_code == 200


@pytest.mark.parametrize("path", ["/page/", "/page/missing.js", "/page/index.html", "/page/%2e%2e%2fdocs.py"])
def test_nothing_else_is_served(path: str, server: Server) -> None:
    check_problem(server.client.get(path), 404, "not-found")
