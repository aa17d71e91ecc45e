"""The dashboard without a browser: who gets in, what the pages carry, how they say that something is wrong, and the figures in them."""

import gzip
import json
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from learning.rules import Interval, ModelPreference, Status, TaskPreferences
from router import bootstrap, config
from router.api.app import create_app
from router.api.services import Services
from router.dashboard import assets, charts, formats, periods, rendering
from router.domain.keys import ApiKey, Scope
from router.domain.tallies import DAY_S, FINE_S, HOUR_S, Counted, Sums, Tally
from router.errors import StorageUnavailable
from router.services.keys import SESSION_S
from router.storage.memory import MemoryStore
from tests.dashboard.conftest import FRIENDLY, HOSTILE, PAYLOADS, catalog, database, fill
from tests.storage.conftest import Records

PAGES = ("/", "/preferences", "/decisions", "/incidents", "/judges", "/budgets", "/savings", "/what-if")


@asynccontextmanager
async def service(folder: Path, *plans: Any) -> AsyncIterator[tuple[Services, httpx.AsyncClient]]:
    structlog.reset_defaults()  # an earlier test's service wrote to a stream that is closed by now
    settings = config.load(
        database_url=database(folder, *plans), durability="normal", log_level="error", catalog_file=catalog(folder, *FRIENDLY.models)
    )
    services = await bootstrap.build(settings)
    app = create_app(services)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://localhost") as client,
    ):
        assert services.tallying is not None
        await services.tallying.catch_up()
        yield services, client


@pytest.fixture
async def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Services, httpx.AsyncClient, str, str]]:
    """A service with a key that may read and one that may not."""
    monkeypatch.chdir(tmp_path)
    async with service(tmp_path) as (services, client):
        made = []
        for name, scope in (("reader", Scope.READ), ("caller", Scope.ROUTE)):
            made.append((await services.keys.create(ApiKey("", name, "", "", frozenset({scope}), time.time())))[1])
        yield services, client, made[0], made[1]


async def sign_in(client: httpx.AsyncClient, key: str, following: str = "/", **headers: str) -> httpx.Response:
    return await client.post("/sign-in", data={"key": key, "next": following}, headers=headers)


# what a page carries


class Dangers(HTMLParser):
    """Whatever in a page could run, style or load what is not one of our own files."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("style", "iframe", "object", "embed", "base") or (tag == "script" and "src" not in given):
            self.found.append(tag)
        for name, value in attrs:
            elsewhere = name in ("src", "href", "action") and not re.match(r"/(?!/)|#", value or "")
            if name == "style" or name.startswith("on") or elsewhere:
                self.found.append(f"{tag} {name}={value}")


async def test_no_page_lets_anything_in_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service(tmp_path, FRIENDLY, HOSTILE) as (_, client):
        for path in (*PAGES, f"/decisions/dec_{HOSTILE.seed:04x}{5:028x}", "/decisions/none"):
            answer = await client.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert Dangers(answer.text).found == [], path
            for payload in PAYLOADS:
                assert payload not in answer.text, path
        assert "because " + PAYLOADS[0] in unescape((await client.get("/decisions")).text)


def test_what_a_page_loads_ships_with_it_and_is_small() -> None:
    found = assets.assets()
    assert set(found) == {"chart.umd.min.js", "charts.js", "dashboard.css", "dashboard.js", "icon.svg", "theme.js"}
    assert sum(len(asset.body) for asset in found.values()) < 300_000
    for name in ("charts.js", "dashboard.css", "dashboard.js", "theme.js"):
        assert b"http" not in found[name].body, name
    assert (assets.FOLDER / "chart.LICENSE.txt").read_text().startswith("The MIT License")
    for template in rendering.FOLDER.glob("*.html"):
        assert "|safe" not in template.read_text(), template.name


async def test_files_are_packed_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service(tmp_path) as (_, client):
        address = assets.url("charts.js")
        packed = await client.get(address, headers={"accept-encoding": "gzip"})
        plain = await client.get(address, headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.text == plain.text == gzip.decompress(assets.assets()["charts.js"].packed).decode()
        assert "immutable" in plain.headers["cache-control"]
        for name in ("../app.py", "..%2Fapp.py", "chart.LICENSE.txt", "none.js"):
            assert (await client.get(f"{assets.PATH}/{name}")).status_code == 404


# who gets in


async def test_without_a_session_every_page_leads_to_the_form(locked: Any) -> None:
    _, client, _, _ = locked
    for path in (*PAGES, "/decisions/dec_x", "/decisions/dec_x/recomputed", "/decisions?task_type=a&model=b"):
        answer = await client.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in?next=%2F"), path
    assert (await client.get("/dashboard/pulse")).status_code == 401
    assert (await client.get("/sign-in")).status_code == 200


async def test_a_session_is_no_key(locked: Any) -> None:
    services, client, reads, routes = locked
    assert (await sign_in(client, "pm_nonsense")).status_code == 401
    assert (await sign_in(client, routes)).status_code == 403
    answer = await sign_in(client, f" {reads} ", "/decisions?model=a")
    assert (answer.status_code, answer.headers["location"]) == (303, "/decisions?model=a")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={SESSION_S}"} <= {part.strip() for part in cookie.split(";")}
    value = client.cookies["pointsman_session"]
    (reader, _) = await services.keys.known()
    assert reads not in value
    assert reader.digest not in value
    assert (await client.get("/")).status_code == 200
    assert (await client.get("/v1/decisions")).status_code == 401  # the API takes keys from the header alone
    for wrong in (value[:-1] + ("0" if value[-1] != "0" else "1"), value.replace(reader.id, "key_other"), "x" * 5_000, "a.1.b"):
        client.cookies.set("pointsman_session", wrong)
        assert (await client.get("/")).status_code == 303
    left = await client.post("/sign-out")
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert left.headers["set-cookie"].startswith('pointsman_session=""; ')
    assert "Max-Age=0" in left.headers["set-cookie"]


async def test_a_session_ends_with_its_time_and_with_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = [1_000.0]
    async with service(tmp_path) as (services, client):
        services.keys._clock = lambda: now[0]
        services.keys._monotonic = lambda: now[0]
        _, token = await services.keys.create(ApiKey("", "reader", "", "", frozenset({Scope.READ}), 0.0))
        await sign_in(client, token)
        value = client.cookies["pointsman_session"]
        now[0] += SESSION_S - 1
        assert (await client.get("/judges")).status_code == 200
        now[0] += 1
        assert (await client.get("/judges", headers={"cookie": f"pointsman_session={value}"})).status_code == 303
        await sign_in(client, token)
        await services.keys.revoke("reader")
        assert (await client.get("/judges")).status_code == 303


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "http://evil.test"}])
async def test_no_other_site_signs_anybody_in_or_out(locked: Any, headers: dict[str, str]) -> None:
    _, client, reads, _ = locked
    assert (await sign_in(client, reads, **headers)).status_code == 403
    await sign_in(client, reads)
    await client.post("/sign-out", headers=headers)
    assert (await client.get("/")).status_code == 200


@pytest.mark.parametrize(
    "following", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:alert(1)", "/\r\nset-cookie: a=b", ""]
)
async def test_the_form_leads_nowhere_else(locked: Any, following: str) -> None:
    _, client, reads, _ = locked
    assert (await sign_in(client, reads, following)).headers["location"] == "/"


# when something is wrong


async def test_a_database_that_is_away_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service(tmp_path, FRIENDLY) as (services, client):

        def away(*_: Any, **__: Any) -> Any:
            raise StorageUnavailable("the database does not answer", remedy="check the disk")

        monkeypatch.setattr(services.store, "counted", away)
        answer = await client.get("/")
        assert answer.status_code == 503
        assert "The database does not answer" in answer.text
        assert "check the disk" in answer.text
        for path, status in (("/decisions/none", 404), ("/preferences?task_type=none", 422)):
            refused = await client.get(path)
            assert (refused.status_code, "What to do" in refused.text) == (status, True)


async def test_filters_that_cannot_be_read_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with service(tmp_path, FRIENDLY) as (_, client):
        answer = await client.get("/decisions?since=yesterday&before_seq=x")
        assert answer.status_code == 200
        assert "A time cannot be read" in answer.text
        asked = await client.get("/what-if?asked=1&weight_cost=-3")
        assert "Give a number from 0 to 100" in asked.text or "give a number from 0 to 100" in asked.text


# the figures


def line(start: int, model: str, **sums: float) -> Tally:
    return Tally(start, None, model, Sums(**sums))  # type: ignore[arg-type]  # floats where there are counts do no harm here


def test_steps_have_no_gaps_and_lose_nothing() -> None:
    at = periods.Stretch(periods.PERIODS[0], 0.0, 1_000.0, Counted(9, 0, 995))
    lines = [line(500, "a", decisions=3), line(900, "a", decisions=2), line(905, "b", decisions=5)]
    found = periods.steps(lines, at)
    assert found.length_s % FINE_S == 0
    assert len(found.starts) <= 61
    assert [b - a for a, b in zip(found.starts, found.starts[1:], strict=False)] == [found.length_s] * (len(found.starts) - 1)
    assert sum(s.decisions for own in found.sums.values() for s in own.values()) == 10
    drawn = charts.shares(found, {"a": 0})
    assert sum(drawn["totals"]) == 10
    assert [series["name"] for series in drawn["series"]] == ["a", charts.OTHERS]


@pytest.mark.parametrize(
    ("ages_s", "key"),
    [((60,), "quarter"), ((2_000, 60), "hour"), ((5 * HOUR_S, 60), "day"), ((4 * DAY_S, 60), "week"), ((40 * DAY_S, 60), "all")],
)
def test_the_shortest_period_that_holds_everything_is_shown(ages_s: Sequence[float], key: str) -> None:
    store, now = MemoryStore(), 1_760_000_000.0 + 20 * HOUR_S
    store.commit([Records.decision(f"d{i}", at=now - age) for i, age in enumerate(ages_s)])
    store.count_on(100)
    assert periods.stretch(store, None, now).period.key == key
    assert periods.stretch(store, "week", now).period.key == "week"


def preference(task_type: str, *models: tuple[str, float, float]) -> TaskPreferences:
    listed = tuple(
        ModelPreference(m, Interval(q, q - 0.1, q + 0.1), c, 1.0, n=10, probability_best=0.5, utility=0.5, utility_sd=0.1)
        for m, q, c in models
    )
    return TaskPreferences(task_type, 10, Status.CONTESTED, models[0][0], None, None, "", listed)


def test_the_frontier_weighs_task_types_by_their_traffic() -> None:
    found = charts.spots(
        [preference("x", ("a/one", 0.9, 4.0), ("b/two", 0.6, 1.0)), preference("y", ("a/one", 0.5, 2.0), ("b/two", 0.6, 1.0))],
        {"x": 3, "y": 1},
        {"a/one": 1, "b/two": 3},
    )
    assert [(spot.model, round(spot.cost_usd, 9), round(spot.quality, 9), spot.share, spot.best) for spot in found] == [
        ("b/two", 1.0, 0.6, 0.75, True),
        ("a/one", 3.5, 0.8, 0.25, True),
    ]
    worse = charts.spots([preference("x", ("a/one", 0.5, 4.0), ("b/two", 0.6, 1.0))], {"x": 1}, {})
    assert [spot.best for spot in worse] == [True, False]


def test_a_chart_survives_any_name() -> None:
    store = MemoryStore()
    fill(store, HOSTILE)
    store.count_on(1_000)
    at = periods.stretch(store, "all", HOSTILE.start)
    lines = store.tallies(DAY_S, 0.0, "time")
    template = rendering.environment().from_string('<canvas data-chart="{{ chart|json }}"></canvas>')
    written = template.render(chart=charts.shares(periods.steps(lines, at), {}))
    assert written.count("<") == 2
    (attribute,) = re.findall(r'data-chart="([^"]*)"', written)
    assert json.loads(unescape(attribute))["kind"] == "shares"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (formats.usd(0.000123), "$0.00012"), (formats.usd(-3.5), "-$3.50"), (formats.usd(12_345.6), "$12,346"), (formats.usd(None), "–"),
        (formats.share(0.0), "0 %"), (formats.share(1.0), "100 %"), (formats.share(0.0004), "<0.1 %"), (formats.share(0.9999), ">99.9 %"),
        (formats.seconds(0.25), "250 ms"), (formats.seconds(3.0), "3.0 s"), (formats.seconds(600), "10 min"),
        (formats.ago(0.0, 7_300.0), "2 h ago"), (formats.short("a/b/c"), "c"), (formats.provider("a/b"), "a/"), (formats.provider("x"), ""),
    ],
)  # fmt: skip
def test_figures_read_well(shown: str, text: str) -> None:
    assert shown == text
