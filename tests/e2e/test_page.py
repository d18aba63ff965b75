"""The page in a real browser on a real service: what people do with it, and what it says when something goes wrong.

In every test the browser's console must stay free of errors, no request may fail, and none may go to another host. A
test names the refusals that it provokes.
"""

import base64
import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright

from app.settings import Settings
from models.inference import networks
from models.preprocessing.decode import decode
from models.preprocessing.normalise import normalise
from models.registry.manifest import Manifest
from models.registry.registry import ModelRegistry
from tests.support.environment import DATA
from tests.support.service import KEY, Server, running

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
MINUTES = 300_000

SEVEN = [(0.3, 0.2), (0.7, 0.2), (0.45, 0.8)]
ONE = [(0.5, 0.2), (0.5, 0.8)]

pytestmark = [pytest.mark.services, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

expect.set_options(timeout=30_000)  # the machine may be busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """v1 is the released model and active; v2 is an untrained one, which training can only make better."""
    home = tmp_path_factory.mktemp("home")
    with running(Settings(home=home, data=DATA, download=False, api_key=KEY)) as found:
        torch.manual_seed(0)
        ModelRegistry(home).write(networks.create("net").state_dict(), Manifest(network="net"))
        yield found


class Watched:
    """A page of the browser, and what went wrong on it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.errors: list[str] = []
        self.aborted: list[str] = []
        self.refusals: list[int] = []
        self._host = urlsplit(server.url).netloc
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfailed", self._failed)
        page.on("request", self._request)

    @contextmanager
    def expecting(self, *refusals: str) -> Iterator[None]:
        """The browser itself writes to the console when a request is refused: only these refusals are expected."""
        before = len(self.errors)
        yield
        mine = self.errors[before:]
        assert mine
        assert all(any(refusal in error for refusal in refusals) for error in mine), mine
        del self.errors[before:]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _failed(self, request: Request) -> None:
        path = urlsplit(request.url).path.rsplit("/", 1)[-1]
        if request.failure == "net::ERR_ABORTED" and path in ("predict", "tile"):
            self.aborted.append(path)  # an older answer that was dropped
        else:
            self.errors.append(f"{request.url}: {request.failure}")

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self._host:
            self.errors.append(f"a request to another host: {request.url}")


@pytest.fixture
def open_page(browser: Browser, server: Server) -> Iterator[Callable[..., Watched]]:
    opened: list[Watched] = []

    def open_page(path: str = "/", **options: object) -> Watched:
        context = browser.new_context(**{"viewport": DESK, **options})
        opened.append(Watched(context.new_page(), server))
        opened[-1].page.goto(server.url + path, wait_until="networkidle")
        return opened[-1]

    yield open_page
    for watched in opened:
        watched.page.context.close()
    assert [error for watched in opened for error in watched.errors] == []


@pytest.fixture
def watched(open_page: Callable[..., Watched]) -> Watched:
    return open_page()


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


def draw(page: Page, points: list[tuple[float, float]], lift: bool = True) -> None:
    """A stroke through points of the unit square."""
    box = page.locator("#pad").bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=12)
    if lift:
        page.mouse.up()


def expect_digit(page: Page, digit: int) -> None:
    expect(page.locator("#verdict.digit .digit")).to_have_text(str(digit))
    expect(page.locator("#bars .best")).to_have_text(re.compile(rf"^{digit}: "))


def files_of(page: Page, **pictures: bytes) -> object:
    """A DataTransfer that holds pictures, as a drop and a paste bring them."""
    encoded = {name: base64.b64encode(data).decode() for name, data in pictures.items()}
    return page.evaluate_handle(
        """(pictures) => {
            const transfer = new DataTransfer();
            for (const [name, data] of Object.entries(pictures)) {
                const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
                transfer.items.add(new File([bytes], name, { type: "image/png" }));
            }
            return transfer;
        }""",
        encoded,
    )


def give_key(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.get_by_role("button", name="Go on").click()


def test_the_bars_move_while_a_digit_is_drawn(page: Page) -> None:
    draw(page, SEVEN, lift=False)
    expect_digit(page, 7)  # before the pen is lifted
    expect(page.locator("#spoken")).to_be_empty()
    page.mouse.up()
    expect(page.locator("#spoken")).to_have_text(re.compile(r"^Read as a seven, .* sure\.$"))
    expect(page.locator("#verdict .by")).to_have_text(re.compile(r"^read by v1 in \d+ ms$"))
    expect(page.locator("#seen p")).to_have_text(re.compile("inverted .*, cut to the digit, .* and centred"))
    share = page.locator("#bars li").nth(7).evaluate("item => Number(item.style.getPropertyValue('--share'))")
    assert share > 0.9
    assert page.locator("#bars .bar").nth(7).evaluate("bar => bar.getBoundingClientRect().height") > 60


def test_the_tile_that_the_network_saw_is_shown(page: Page, encode, seven: Image.Image) -> None:
    page.set_input_files("#files", [{"name": "seven.png", "mimeType": "image/png", "buffer": encode(seven)}])
    expect(page.locator("#seen:not(.none)")).to_be_visible()
    shown = page.locator("#seen canvas").evaluate(
        "canvas => [...canvas.getContext('2d').getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0)"
    )
    assert shown == normalise(decode(encode(seven))).pixels.flatten().tolist()


def test_undo_and_clear_by_button_and_by_keyboard(page: Page) -> None:
    undo, clear = page.get_by_role("button", name="Undo"), page.get_by_role("button", name="Clear")
    expect(undo).to_be_disabled()
    draw(page, ONE)
    expect_digit(page, 1)
    draw(page, [(0.5, 0.2), (0.2, 0.55), (0.75, 0.55)])
    expect_digit(page, 4)
    undo.click()
    expect_digit(page, 1)
    clear.click()
    expect(page.locator("#verdict .words")).to_have_text("Nothing to read yet")
    page.keyboard.press("Control+z")
    expect_digit(page, 1)
    page.keyboard.press("Escape")
    expect(page.locator("#verdict .words")).to_have_text("Nothing to read yet")
    expect(clear).to_be_disabled()


def test_a_new_stroke_cancels_the_request_of_the_one_before(watched: Watched) -> None:
    page, held = watched.page, []

    def hold(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/predict", hold)
    draw(page, ONE)
    draw(page, [(0.2, 0.2), (0.5, 0.2)])
    expect(page.locator("#spoken")).not_to_be_empty()
    assert "predict" in watched.aborted
    assert held[0].request.failure == "net::ERR_ABORTED"
    page.unroute_all(behavior="ignoreErrors")


def test_a_digit_by_finger_on_a_phone_fits_on_its_screen(open_page: Callable[..., Watched]) -> None:
    page = open_page(viewport=PHONE, is_mobile=True, has_touch=True, color_scheme="dark").page
    box = page.locator("#pad").bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)

    def send(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    send("touchStart", SEVEN[0])
    for (x, y), (to_x, to_y) in itertools.pairwise(SEVEN):
        for share in (0.2, 0.4, 0.6, 0.8, 1):
            send("touchMove", (x + share * (to_x - x), y + share * (to_y - y)))
    send("touchEnd")
    expect_digit(page, 7)
    assert page.evaluate("[scrollX, scrollY]") == [0, 0]
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    labels = page.locator("#labels").bounding_box()
    assert labels is not None
    assert labels["y"] + labels["height"] <= PHONE["height"]


def test_the_page_works_by_keyboard_alone(page: Page, tmp_path: Path, encode, seven: Image.Image) -> None:
    page.on("filechooser", lambda _: None)  # from now on the browser opens no dialog of its own
    while page.evaluate("document.activeElement.id") != "pad":
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for keys in (["ArrowLeft"] * 3, ["Space"], ["ArrowRight"] * 6, ["ArrowDown", "Shift+ArrowLeft"] * 8, ["Space"]):
        for key in keys:
            page.keyboard.press(key)
    expect_digit(page, 7)
    page.keyboard.press("Escape")
    path = tmp_path / "seven.png"
    path.write_bytes(encode(seven))
    while page.evaluate("document.activeElement.id") != "pick":
        page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(path)
    expect_digit(page, 7)


def test_a_screen_reader_finds_names_for_everything(page: Page) -> None:
    pad = page.locator("#pad")
    expect(pad).to_have_accessible_name("Paper to draw a digit on")
    tree = page.context.new_cdp_session(page)
    nodes = tree.send("Accessibility.getFullAXTree")["nodes"]  # what is hidden, or folded away, is not in it
    described = {node["name"]["value"]: node.get("description", {}).get("value") for node in nodes if "name" in node}
    assert described["Paper to draw a digit on"].startswith("Arrow keys move the pen, Space sets it down")
    assert page.get_by_role("group", name="It was a").get_by_role("button").count() == 10
    expect(page.get_by_role("button", name="It was an 8", exact=True)).to_be_disabled()
    draw(page, SEVEN)
    expect_digit(page, 7)
    bars = page.get_by_role("list", name="Probabilities")
    expect(bars).to_match_aria_snapshot("\n".join(["- list:", *[f"  - listitem: /^{i}. \\d+%$/" for i in range(10)]]))


def test_an_image_can_be_dropped_or_pasted(page: Page, encode, seven: Image.Image) -> None:
    files = files_of(page, **{"seven.png": encode(seven)})
    page.dispatch_event("body", "drop", {"dataTransfer": files})
    expect_digit(page, 7)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#verdict .words")).to_have_text("Nothing to read yet")
    paste = "(body, files) => body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: files, bubbles: true }))"
    page.locator("body").evaluate(paste, files)
    expect_digit(page, 7)


def test_several_images_give_a_list_of_results(page: Page, encode, seven: Image.Image) -> None:
    pictures = [
        {"name": "seven.png", "mimeType": "image/png", "buffer": encode(seven)},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"words"},
        {"name": "upside.tiff", "mimeType": "image/tiff", "buffer": encode(seven.convert("L"), "TIFF")},
        *[{"name": f"{i}.png", "mimeType": "image/png", "buffer": encode(seven)} for i in range(40)],
    ]
    page.set_input_files("#files", pictures)  # type: ignore[arg-type]
    expect(page.locator("#results h2")).to_have_text("43 pictures, 1 not read")
    expect(page.locator("#results li")).to_have_count(43)
    expect(page.locator("#results li").nth(1)).to_have_text(re.compile("^notes.txt: Inkling cannot read"))
    expect_digit(page, 7)  # the first one
    last = page.get_by_role("button", name="39.png: 7,")
    last.click()
    expect(last).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#results [aria-pressed=true]")).to_have_count(1)


def test_a_file_that_is_no_image_is_a_problem(watched: Watched) -> None:
    with watched.expecting("415"):
        watched.page.set_input_files("#files", [{"name": "notes.png", "mimeType": "image/png", "buffer": b"words"}])
        expect(watched.page.locator("#reading-problem")).to_have_text(re.compile("^Inkling cannot read this format"))


def test_an_empty_file_is_a_problem_in_words_for_the_page(watched: Watched) -> None:
    with watched.expecting("400"):
        watched.page.set_input_files("#files", [{"name": "empty.png", "mimeType": "image/png", "buffer": b""}])
        expect(watched.page.locator("#reading-problem")).to_have_text(re.compile("^The file is empty"))


def test_a_service_without_a_key_does_not_ask_for_one(browser: Browser, tmp_path: Path) -> None:
    with running(Settings(home=tmp_path / "home", data=DATA, download=False)) as found, browser.new_page() as page:
        page.goto(found.url, wait_until="networkidle")
        page.get_by_role("button", name="Retrain", exact=True).click()
        expect(page.locator("#retraining .problem")).to_have_text(re.compile("INKLING_API_KEY"))
        expect(page.locator("dialog")).not_to_be_visible()


def test_feedback_asks_for_the_key_until_it_is_right(watched: Watched, server: Server) -> None:
    page = watched.page
    draw(page, SEVEN)
    expect_digit(page, 7)
    label = page.get_by_role("button", name="It was a 1", exact=True)
    label.click()
    with watched.expecting("401"):
        give_key(page, "clé fausse")
        expect(page.locator("dialog .problem")).to_have_text(re.compile("^This key is wrong"))
    give_key(page, KEY)
    expect(page.locator("#feedback-said")).to_have_text(re.compile("^Thank you: kept as a 1"))
    expect(label).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="It was a 7", exact=True).click()
    expect(page.locator("#feedback-said")).to_have_text(re.compile("^Changed to a 7"))
    counts = server.client.get("/feedback", headers={"X-API-Key": KEY}).json()
    assert counts["by_label"].get("7") == 1
    page.get_by_role("button", name="Take it back").click()
    expect(page.locator("#feedback-said")).to_have_text("Taken back.")
    assert server.client.get("/feedback", headers={"X-API-Key": KEY}).json()["total"] == 0
    page.get_by_role("button", name="Forget the key").click()
    label.click()
    page.get_by_role("button", name="Not now").click()
    expect(page.locator("dialog")).not_to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def test_an_overloaded_service_says_so_and_can_be_tried_again(
    watched: Watched, server: Server, encode, seven: Image.Image
) -> None:
    page, words = watched.page, re.compile("^The service is overloaded. Try again in a second.")
    problem = page.locator("#reading-problem")
    pictures = [{"name": f"{i}.png", "mimeType": "image/png", "buffer": encode(seven)} for i in range(2)]
    with watched.expecting("503"), server.full():
        draw(page, SEVEN)
        expect(problem).to_have_text(words)
        page.set_input_files("#files", pictures)  # type: ignore[arg-type]
        expect(page.locator("#results .problem").first).to_have_text(words)
        expect(problem).to_be_empty()
        page.set_input_files("#files", pictures[:1])  # type: ignore[arg-type]
        expect(problem).to_have_text(words)
    problem.get_by_role("button", name="Try again").click()
    expect_digit(page, 7)
    expect(problem).to_be_empty()


def test_without_a_connection_the_page_says_so(watched: Watched) -> None:
    page = watched.page
    expect(page.locator("#versions li")).to_have_count(2)
    with watched.expecting("ERR_INTERNET_DISCONNECTED"):
        page.context.set_offline(True)
        draw(page, SEVEN)
        expect(page.locator("#reading-problem")).to_have_text(re.compile("^The service does not answer"))
        page.get_by_role("button", name="Use v2").click()
        expect(page.locator("#versions .problem")).to_have_text(re.compile("^The service does not answer"))
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").first.click()
    expect_digit(page, 7)


def test_the_page_works_below_a_prefix(watched: Watched, server: Server, encode, seven: Image.Image) -> None:
    """As behind a proxy that strips the prefix."""
    page, asked = watched.page, []

    def forward(route: Route) -> None:
        asked.append(urlsplit(route.request.url).path)
        route.fulfill(response=route.fetch(url=route.request.url.replace("/digits/", "/")))

    page.route("**/*", forward)
    page.goto(f"{server.url}/digits/")
    expect(page.locator("#versions li")).to_have_count(2)
    page.set_input_files("#files", [{"name": "seven.png", "mimeType": "image/png", "buffer": encode(seven)}])
    expect_digit(page, 7)
    expect(page.locator("#seen:not(.none)")).to_be_visible()
    page.unroute_all(behavior="wait")
    assert {"/digits/predict", "/digits/models", "/digits/retrain"} <= set(asked)
    assert all(path.startswith("/digits/") for path in asked)


@pytest.mark.parametrize("viewport", [DESK, PHONE])
def test_the_viewer_of_the_interface_works_under_the_same_policy(
    viewport: dict[str, int], open_page: Callable[..., Watched]
) -> None:
    page = open_page("/docs", viewport=viewport).page
    page.get_by_role("button", name="/health/live").first.click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table")).to_contain_text('"status": "live"')
    assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    for scheme, shown in (("dark", "dark"), ("light", "normal")):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.locator("html")).to_have_css("color-scheme", shown)


@pytest.mark.slow
def test_a_retraining_is_followed_to_its_end_and_rolled_back(page: Page, server: Server, data_folder: Path) -> None:
    expect(page.locator("#versions .active")).to_have_text(re.compile(r"^v1 answers\. .* 99\.\d\d"))
    page.get_by_role("button", name="Use v2").click()
    give_key(page, KEY)
    expect(page.locator("#versions .active")).to_have_text(re.compile("^v2 answers"))
    page.get_by_label("Epochs").fill("1")
    page.get_by_role("button", name="Retrain").click()
    said = page.locator("#retraining .said")
    expect(said).to_have_text("Training, epoch 1 of 1.", timeout=MINUTES)
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    expect(said).to_have_text("Done: v3 passed and is active.", timeout=MINUTES)
    expect(page.locator(".charts path").first).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+L"))
    expect(page.locator(".charts path").last).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+L"))
    expect(page.locator("#retraining progress")).to_have_js_property("value", 1)
    expect(page.locator("#retraining .gate")).to_have_text(re.compile("^Of 5,000 held-out digits it reads"))
    expect(page.locator("#versions .active")).to_have_text(re.compile("^v3 answers"))
    page.get_by_role("button", name="Use v1").click()  # with the key that is known by now
    expect(page.locator("#versions .active")).to_have_text(re.compile("^v1 answers"))
    assert server.client.get("/models").json()["active"] == "v1"
    page.reload()
    expect(said).to_have_text("Done: v3 passed and is active.")
