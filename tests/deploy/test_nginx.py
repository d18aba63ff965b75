"""deploy/nginx/inkling.conf in a real nginx before a real service, to which it passes the prefix or not."""

import os
import re
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.settings import Settings
from tests.support import services
from tests.support.environment import ROOT
from tests.support.service import KEY, WITH_KEY, Server, check_problem, free_port, serving
from tests.support.waiting import wait_until

pytestmark = pytest.mark.services

EXAMPLE = ROOT / "deploy" / "nginx" / "inkling.conf"
MAX_UPLOAD_BYTES = 1 << 20


def set_up(folder: Path, upstream: str, port: int, *, strips: bool) -> Path:
    """Writes nginx's main configuration, which includes the example with our addresses and certificate; its path."""
    openssl = services.find("openssl", "openssl")
    certificate, key = folder / "example.org.pem", folder / "example.org.key"
    subject = ["-subj", "/CN=example.org", "-addext", "subjectAltName=DNS:example.org"]
    new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*new, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    example = EXAMPLE.read_text()
    for before, after in (
        ("server 127.0.0.1:8000;", f"server {upstream.removeprefix('http://')};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/certs/example.org.pem", str(certificate)),
        ("/etc/ssl/private/example.org.key", str(key)),
        *([("proxy_pass http://inkling;", "proxy_pass http://inkling/;")] if strips else []),
    ):
        assert example.count(before) == 1
        example = example.replace(before, after)
    (folder / "inkling.conf").write_text(example)
    temporary = "\n".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.geteuid() == 0 else ""  # its worker must reach the test's folder
    main = folder / "nginx.conf"
    main.write_text(
        f"{user}\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error.log warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}\ninclude {folder}/inkling.conf;\n}}\n"
    )
    return main


@pytest.fixture(scope="module", params=[False, True], ids=["passes the prefix", "strips the prefix"])
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The service behind nginx; its client talks to nginx."""
    nginx = services.find("nginx", "nginx", also_in="/usr/sbin")
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    settings = Settings(home=folder / "home", api_key=KEY, root_path="/digits", max_upload_bytes=MAX_UPLOAD_BYTES)
    with serving(settings) as service:
        main = set_up(folder, service.url, port, strips=request.param)
        command = [nginx, "-c", main, "-e", folder / "error.log"]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        with subprocess.Popen(command) as process:
            trusted = ssl.create_default_context(cafile=str(folder / "example.org.pem"))
            found = Server(f"https://127.0.0.1:{port}/digits/", process, app=service.app)
            found.client = httpx.Client(
                base_url=found.url,
                verify=trusted,
                headers={"Host": "example.org"},
                timeout=30,
            )
            found.client.event_hooks["request"] = [name_server]
            try:
                with found.client:
                    wait_until(lambda: process.poll() is not None or answers(found))
                    yield found
            finally:
                process.terminate()
        assert "[error]" not in (folder / "error.log").read_text()


def name_server(request: httpx.Request) -> None:
    """The certificate is that of example.org, to which no name server leads."""
    request.extensions["sni_hostname"] = "example.org"


def answers(server: Server) -> bool:
    try:
        return server.client.get("health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_the_page_and_the_viewer_find_their_files(proxied: Server) -> None:
    for page in ("", "docs"):
        answer = proxied.client.get(page)
        assert answer.headers["content-type"].startswith("text/html")
        links = re.findall(r'<(?:link|script)[^>]*(?:src|href)="([^"]+)"', answer.text)
        assert len(links) >= 3
        for link in links:
            assert proxied.client.get(answer.url.join(link)).status_code == 200
    assert proxied.client.get("openapi.json").json()["servers"] == [{"url": "/digits"}]


def test_the_bare_prefix_leads_to_the_page(proxied: Server) -> None:
    answer = proxied.client.get(proxied.url.removesuffix("/"))
    assert answer.is_redirect
    assert answer.headers["location"].endswith("/digits/")


def test_a_trailing_slash_is_redirected_below_the_prefix(proxied: Server, seven, encode) -> None:
    answer = proxied.client.post("predict/?a=b", content=encode(seven))
    assert (answer.status_code, answer.headers["location"]) == (307, "/digits/predict?a=b")
    assert proxied.client.post("predict/", content=encode(seven), follow_redirects=True).json()["digit"] == 7


@pytest.mark.parametrize("size", [(28, 28), (280, 280), (900, 900)])
def test_images_are_read(size: tuple[int, int], proxied: Server, seven, encode) -> None:
    picture = encode(seven.resize(size), "BMP")  # the largest does not fit into nginx's memory
    for body in ({"content": picture}, {"files": {"file": picture}}):
        assert proxied.client.post("predict", **body).json()["digit"] == 7


def test_it_is_inkling_that_refuses_a_body_that_is_too_large(proxied: Server) -> None:
    answer = proxied.client.post("predict", content=b"x" * (MAX_UPLOAD_BYTES + 1))
    assert check_problem(answer, 413, "body-too-large")["limit"] == MAX_UPLOAD_BYTES


def test_the_largest_body_of_the_default_settings_passes() -> None:
    megabytes = re.search(r"client_max_body_size (\d+)m;", EXAMPLE.read_text())
    assert megabytes
    # A picture in JSON is base64, a third larger.
    assert int(megabytes[1]) << 20 > Settings().max_upload_bytes * 4 // 3 + 65_536


def test_the_key_and_the_address_of_a_job_pass(proxied: Server) -> None:
    check_problem(proxied.client.get("feedback"), 401, "wrong-key")
    assert proxied.client.get("feedback", headers=WITH_KEY).json()["total"] == 0
    answer = proxied.client.post("retrain", headers=WITH_KEY)
    assert answer.headers["location"] == f"/digits/retrain/{answer.json()['id']}"
    assert proxied.client.get(answer.url.join(answer.headers["location"])).status_code == 200
    proxied.app.state.jobs.finish(answer.json()["id"], "succeeded", "better")  # type: ignore[union-attr]


def test_events_arrive_as_they_happen(proxied: Server) -> None:
    assert proxied.app is not None
    jobs = proxied.app.state.jobs
    job = jobs.submit({}, None)
    with proxied.client.stream("GET", f"retrain/{job.id}/events") as stream:
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("data:")).count('"queued"') == 1
        jobs.finish(job.id, "succeeded", "better")
        assert next(line for line in lines if line.startswith("data:")).count('"succeeded"') == 1
        assert [line for line in lines if line] == []


def test_the_metrics_stay_inside(proxied: Server) -> None:
    assert proxied.client.get("metrics").status_code == 404


def test_head_and_methods(proxied: Server) -> None:
    assert proxied.client.head("health").headers["content-length"]
    assert proxied.client.put("predict").headers["allow"] == "POST"
