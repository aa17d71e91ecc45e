"""The dashboard in a real browser: every page, both themes, wide and narrow, over a log full of script payloads."""

import json
import random
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from router.domain.keys import ApiKey, Scope
from tests.dashboard.conftest import FRIENDLY, HOSTILE, PAYLOADS, Service, catalog, database

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: install chromium and run again", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is not installed")

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
MOST_BYTES = 2_000_000
WIDE, NARROW = {"width": 1360, "height": 900}, {"width": 390, "height": 844}
FIRST = f"dec_{FRIENDLY.seed:04x}{FRIENDLY.decisions - 1:028x}"
EVIL = f"dec_{HOSTILE.seed:04x}{HOSTILE.decisions - 1:028x}"
PAGES = {
    "overview": "/",
    "overview, all": "/?period=all",
    "preferences": "/preferences",
    "one preference": "/preferences?task_type=summarization",
    "a history": "/preferences/history?task_type=summarization",
    "decisions": "/decisions",
    "a decision": f"/decisions/{FIRST}",
    "a hostile decision": f"/decisions/{EVIL}",
    "a recomputed decision": f"/decisions/{FIRST}/recomputed",
    "savings": "/savings",
    "what if": "/what-if",
    "what if, asked": "/what-if?asked=1&weight_cost=2&last=500",
    "incidents": "/incidents",
    "judges": "/judges",
    "judges measured": "/judges/measured",
    "budgets": "/budgets",
}
TRIED = ("acme/base", "acme/middle", "acme/top")
CHARTED = {"overview", "overview, all", "one preference", "a history"}

_DRAWN = """(canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Set();
    for (let i = 0; i < data.length; i += 4) if (data[i + 3] > 200) colours.add(`${data[i]},${data[i + 1]},${data[i + 2]}`);
    return colours.size;
}"""
_UNNAMED = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, img, canvas, svg")]
    .filter((e) => !e.matches("[aria-hidden]"))
    .filter((e) => e.checkVisibility())
    .filter((e) => !(e.innerText?.trim() || e.getAttribute("aria-label") || e.labels?.length || e.hasAttribute("alt")))
    .map((e) => e.outerHTML.slice(0, 120))"""


class Watched:
    """A page that notes whatever goes wrong in it, and what it loads."""

    def __init__(self, context: Any) -> None:
        self.page = context.new_page()
        self.faults: list[str] = []
        self.sizes: dict[str, int] = {}
        self.page.on("console", lambda message: self.faults.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("dialog", lambda dialog: (self.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.page.on("response", self._weigh)

    def _failed(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # what the next page left unread
            self.faults.append(f"failed: {request.url} {request.failure}")

    def _weigh(self, response: Any) -> None:
        if response.status == 200:
            self.sizes[response.url] = int(response.headers["content-length"])

    def open(self, address: str) -> Any:
        self.sizes.clear()
        self.page.goto(address, wait_until="load")
        return self.page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS, timeout=120_000)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("dashboard")
    models = catalog(folder, *FRIENDLY.models, *HOSTILE.models)
    with Service(database(folder, FRIENDLY, HOSTILE), catalog_file=models) as running:
        yield running


@pytest.fixture
def watched(browser: Any) -> Iterator[Callable[..., Watched]]:
    contexts = []

    def make(**options: Any) -> Watched:
        context = browser.new_context(**({"viewport": WIDE} | options))
        context.set_default_timeout(60_000)
        contexts.append(context)
        return Watched(context)

    yield make
    for context in contexts:
        context.close()


def follow(page: Any, locator: Any) -> None:
    """Click, and wait for the page that it leads to."""
    with page.expect_navigation():
        locator.click()


def post(service: Service, path: str, body: Any) -> dict[str, Any]:
    request = urllib.request.Request(service.address + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        told: dict[str, Any] = json.load(answer)
    return told


@pytest.mark.parametrize(("viewport", "theme"), [(WIDE, "light"), (NARROW, "dark")], ids=["wide and light", "narrow and dark"])
def test_every_page_is_whole(service, watched, viewport, theme):
    """No console message, charts drawn, payloads inert, everything named, nothing beyond the edge, within the weight."""
    seen = watched(viewport=viewport, color_scheme=theme)
    for name, path in PAGES.items():
        page = seen.open(service.address + path)
        assert page.locator("h1").count() == page.locator("main").count() == 1, name
        canvases = page.locator("canvas[data-chart]")
        assert (canvases.count() > 0) == (name in CHARTED), name
        for i in range(canvases.count()):
            assert canvases.nth(i).get_attribute("data-drawn") == "true", name
            assert canvases.nth(i).evaluate(_DRAWN) >= 5, name
        assert page.evaluate("window.pwned") is None, name
        assert page.locator("main :is(script, iframe, [onerror], [onload], [style]:not(canvas))").count() == 0, name
        assert page.evaluate(_UNNAMED) == [], name
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        assert sum(seen.sizes.values()) <= MOST_BYTES, (name, seen.sizes)
        assert seen.faults == [], name
    assert page.evaluate("getComputedStyle(document.body).colorScheme") != ""


def test_payloads_are_shown_as_text(service, watched):
    page = watched().open(f"{service.address}/decisions/{EVIL}")
    told = page.locator("main").inner_text()
    assert "because " + PAYLOADS[0] + PAYLOADS[1] in told
    assert f"tag {PAYLOADS[1]}" in told
    assert PAYLOADS[4] in told
    page.goto(f"{service.address}/preferences")
    assert {PAYLOADS[0], PAYLOADS[1]} <= set(page.locator("tbody th").all_inner_texts())
    follow(page, page.get_by_role("link", name=PAYLOADS[0]))
    assert PAYLOADS[0] in page.locator("h1").inner_text()
    page.goto(f"{service.address}/judges")
    assert any(PAYLOADS[2] in text for text in page.locator("h2").all_inner_texts())


@pytest.mark.parametrize(
    "path",
    [
        "/?period=<script>window.pwned=1</script>",
        "/preferences?task_type=<img src=x onerror=window.pwned=1>",
        "/decisions?task_type=\"><svg onload=window.pwned=1>&since=<b>&model='</select><script>window.pwned=1</script>",
        "/decisions/<img src=x onerror=window.pwned=1>",
        "/sign-in?next=javascript:window.pwned=1",
    ],
)
def test_addresses_are_not_believed(service, watched, path):
    seen = watched()
    page = seen.open(service.address + path)
    page.wait_for_timeout(100)
    assert page.evaluate("window.pwned") is None
    assert [fault for fault in seen.faults if "404" not in fault and "422" not in fault] == []
    assert page.locator("main").count() == 1


def test_decisions_are_narrowed_and_paged(service, watched):
    page = watched().open(f"{service.address}/decisions")
    page.get_by_label("Task type").select_option("math_reasoning")
    follow(page, page.get_by_role("button", name="Filter"))
    rows = page.locator("tbody tr")
    assert rows.count() == 50
    assert set(page.locator("tbody td:nth-child(2)").all_inner_texts()) == {"math_reasoning"}
    first = rows.first.inner_text()
    follow(page, page.get_by_role("link", name="Older"))
    assert set(page.locator("tbody td:nth-child(2)").all_inner_texts()) == {"math_reasoning"}
    assert rows.first.inner_text() != first
    follow(page, page.get_by_role("link", name="Newest"))
    assert rows.first.inner_text() == first
    page.get_by_label("Model").select_option("acme/small-1")
    follow(page, page.get_by_role("button", name="Filter"))
    assert {"acme/small-1"} == set(page.locator("tbody td:nth-child(3)").all_inner_texts())
    follow(page, page.get_by_role("link", name="Clear"))
    page.get_by_label("From (UTC)").fill("2025-10-09T09:00")
    page.get_by_label("To (UTC)").fill("2025-10-09T09:10")
    follow(page, page.get_by_role("button", name="Filter"))
    times = page.locator("tbody time").evaluate_all("all => all.map((t) => t.dateTime)")
    assert len(times) == 20  # one every 30 s
    assert min(times) >= "2025-10-09T09:00"
    assert max(times) <= "2025-10-09T09:10:00+00:00"
    page.get_by_label("To (UTC)").fill("2025-10-01T09:10")
    follow(page, page.get_by_role("button", name="Filter"))
    assert "No decision matches" in page.locator("main").inner_text()


def test_a_decision_says_why(service, watched):
    page = watched().open(f"{service.address}/decisions?task_type=quick_qa")
    follow(page, page.locator("tbody a").last)
    told = page.locator("main").inner_text()
    assert "Why not the others" in told
    assert "best expected utility of 6 eligible models" in told
    assert page.locator("tr.chosen").count() == 1
    page.locator("summary", has_text="max cost").click()
    assert "expected to cost $0.019, over the limit" in page.locator("main").inner_text()


def test_what_happens_appears_by_itself(service, watched):
    """A page follows the log, keeps what the reader has opened and focused, and stops when told to."""
    seen = watched()
    page = seen.open(f"{service.address}/decisions?task_type=live_test")
    assert "No decision matches" in page.locator("main").inner_text()
    decided = post(service, "/v1/route", {"task_type": "live_test", "context_tokens": 10})
    page.locator("tbody tr").first.wait_for()
    page.goto(service.address + "/")
    page.locator("summary").first.click()
    page.locator("summary").first.focus()
    post(service, "/v1/feedback", {"decision_id": decided["decision_id"], "score": 1.0})
    page.locator("tbody a", has_text="live_test").wait_for()
    assert page.locator("details").first.evaluate("item => item.open")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.locator("#traffic").evaluate(_DRAWN) >= 5
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("() => !document.querySelector('#live [aria-busy]')")  # what was being fetched for the page as it is
    before = page.locator("#live").inner_text()
    post(service, "/v1/route", {"task_type": "live_test", "context_tokens": 10})
    page.wait_for_timeout(3_000)
    assert page.locator("#live").inner_text() == before
    page.get_by_role("button", name="Resume").click()
    page.wait_for_function("before => document.getElementById('live').innerText !== before", arg=before)
    assert seen.faults == []


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service over a log that decisions of its own kind were drawn into, with a tenth of the traffic held back."""
    folder = tmp_path_factory.mktemp("rehearsed")
    url = database(folder)
    with Service(url, catalog_file=catalog(folder, *TRIED, only=True), holdback_share=0.1, baseline_model=TRIED[0]) as running:
        rng = random.Random(11)
        for start in range(0, 320, 40):
            calls, scores = [], []
            for i in range(start, start + 40):
                decided = post(running, "/v1/route", {"task_type": ("draft", "proof")[i % 2], "context_tokens": 500})
                place = TRIED.index(decided["model"])
                said = {"decision_id": decided["decision_id"]}
                calls.append(said | {"latency_s": 1.0, "cost_usd": 0.001 * (1 + place), "input_tokens": 500, "output_tokens": 100})
                scores.append(said | {"score": float(rng.random() < 0.35 + 0.2 * place)})
            post(running, "/v1/outcomes", calls)
            post(running, "/v1/feedback", scores)
        running.do(running.services.tallying.catch_up())  # type: ignore[union-attr]  # a whole service has one
        yield running


def test_what_if_answers_and_refuses(rehearsed, watched):
    seen = watched()
    page = seen.open(f"{rehearsed.address}/what-if")
    follow(page, page.get_by_role("button", name="What if?"))
    assert "Nothing differs from what is" in page.get_by_role("alert").inner_text()
    page.get_by_label("Limit").select_option(TRIED[2])
    follow(page, page.get_by_role("button", name="What if?"))
    assert "cap share" in page.get_by_role("alert").inner_text()
    page.get_by_label("to % of the traffic").fill("10")
    page.get_by_label("Quality").fill("1")
    page.get_by_label("Latest decisions").select_option("500")
    follow(page, page.get_by_role("button", name="What if?"))
    told = page.locator("main").inner_text()
    assert page.get_by_label("to % of the traffic").input_value() == "10"
    assert "Cost per 1,000 calls" in told
    capped = page.get_by_role("region", name="Traffic").locator("tr", has_text=TRIED[2].partition("/")[2]).locator("td").nth(1)
    assert float(capped.inner_text().rstrip("% ").strip()) <= 10.5
    assert seen.faults == []


def test_a_preference_tells_how_it_came_about(rehearsed, watched):
    seen = watched()
    page = seen.open(f"{rehearsed.address}/preferences?task_type=proof")
    page.locator("#history[data-loaded]").wait_for()
    told = page.locator("#history").inner_text()
    assert "What moved it lately" in told
    assert "Changes of the recommendation" in told
    assert page.locator("#history canvas").evaluate(_DRAWN) >= 5
    assert seen.faults == []


def test_savings_are_measured_and_estimated(rehearsed, watched):
    seen = watched()
    page = seen.open(rehearsed.address + "/")
    page.locator("#savings[data-loaded]").wait_for()
    assert "Against all on" in page.locator("#savings").inner_text()
    follow(page, page.locator("#savings").get_by_role("link"))
    told = page.locator("main").inner_text()
    assert "whole episodes at random" in told
    assert "held back" in told
    with page.expect_navigation():
        page.get_by_label("Everything on").select_option(TRIED[1])
    assert page.get_by_label("Everything on").input_value() == TRIED[1]
    assert "All on one model" in page.locator("main").inner_text()
    assert seen.faults == []


def test_a_decision_is_taken_once_more(rehearsed, watched):
    seen = watched()
    page = seen.open(f"{rehearsed.address}/decisions?task_type=proof")
    follow(page, page.locator("tbody tr", has_text="expected utility").first.locator("a"))
    page.locator("#recomputed[data-loaded]").wait_for()
    told = page.locator("#recomputed").inner_text()
    assert "the same to the last bit" in told
    assert "would make it the first" in told or "no change of its quality or cost" in told
    assert page.locator("#recomputed tbody tr").count() == len(TRIED)
    assert seen.faults == []


def test_judges_are_measured(service, watched):
    page = watched().open(f"{service.address}/judges")
    page.locator("#measured[data-loaded]").wait_for()
    told = page.locator("#measured").inner_text()
    assert {"unit-tests", "reviewer", PAYLOADS[3]} <= set(page.locator("#measured tbody th").all_inner_texts())
    assert "too few scores to say" in told


def test_the_theme_is_the_systems_until_the_reader_chooses(service, watched):
    page = watched(color_scheme="dark").open(service.address + "/")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    button = page.locator("#theme")
    button.click()
    light = page.evaluate(background)
    assert light != dark
    page.reload()
    assert (page.evaluate(background), button.inner_text()) == (light, "Theme: light")
    button.click()
    button.click()
    assert (page.evaluate(background), button.inner_text()) == (dark, "Theme: auto")


def test_the_keyboard_is_enough(service, watched):
    page = watched().open(service.address + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_pages_work_without_scripts(service, watched):
    seen = watched(java_script_enabled=False)
    page = seen.open(service.address + "/")
    page.locator("summary").first.click()
    assert "acme/small-1" in page.locator("table").first.inner_text()
    follow(page, page.get_by_role("link", name="7 days"))
    follow(page, page.get_by_role("link", name="Decisions", exact=True))
    page.get_by_label("Task type").select_option("quick_qa")
    follow(page, page.get_by_role("button", name="Filter"))
    assert page.locator("tbody tr").count() == 50


def test_a_fresh_installation_says_what_to_do(watched, tmp_path):
    with Service(database(tmp_path)) as fresh:
        seen = watched()
        page = seen.open(fresh.address + "/")
        assert "/v1/route" in page.locator("main").inner_text()
        for path in PAGES.values():
            if path.count("/") == 1 and "?" not in path:
                assert seen.open(fresh.address + path).locator("h1").count() == 1
        page.goto(fresh.address + "/")
        post(fresh, "/v1/route", {"task_type": "first", "context_tokens": 10})
        page.get_by_text("Latest decisions").wait_for()
        assert seen.faults == []


def test_a_key_opens_it_and_only_that(watched, tmp_path):
    with Service(database(tmp_path, FRIENDLY)) as locked:
        keys = locked.services.keys
        _, reads = locked.do(keys.create(ApiKey("", "reader", "", "", frozenset({Scope.READ}), time.time())))
        _, routes = locked.do(keys.create(ApiKey("", "caller", "", "", frozenset({Scope.ROUTE}), time.time())))
        seen = watched()
        page = seen.open(f"{locked.address}/decisions?task_type=quick_qa")
        assert page.url.startswith(f"{locked.address}/sign-in?next=")
        for key, words in (("pm_wrong", "not valid"), (routes, "may not read")):
            page.get_by_label("API key").fill(key)
            follow(page, page.get_by_role("button", name="Sign in"))
            assert words in page.get_by_role("alert").inner_text()
        page.get_by_label("API key").fill(reads)
        follow(page, page.get_by_role("button", name="Sign in"))
        assert page.url == f"{locked.address}/decisions?task_type=quick_qa"
        assert page.locator("tbody tr").count() == 50
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
        assert reads not in cookie["value"]
        assert page.evaluate("document.cookie") == ""
        follow(page, page.get_by_role("button", name="Sign out"))
        assert page.context.cookies() == []
        page.goto(locked.address + "/")
        assert "/sign-in" in page.url
        page.get_by_label("API key").fill(reads)
        page.keyboard.press("Enter")
        page.get_by_text("Latest decisions").wait_for()
        locked.do(keys.revoke("reader"))
        page.get_by_text("Signed out").wait_for()
        page.reload()
        assert "/sign-in" in page.url
