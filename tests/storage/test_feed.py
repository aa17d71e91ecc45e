"""The thread that hears of other services' commits goes on whatever becomes of a piece of news."""

import threading
from typing import Any

import psycopg

from router.domain.events import News
from router.storage.feed import LogFeed
from router.storage.postgres import CHANNEL
from router.storage.sql import SqlStore


def test_news_that_nobody_can_take_or_read_is_not_the_last(postgres_url: str, make: Any) -> None:
    heard, again, committed = 0, threading.Event(), threading.Event()

    def hear(news: News) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            raise ValueError("nobody takes it")
        again.set()
        if news.seq == 1:
            committed.set()

    feed = LogFeed(postgres_url, hear, lambda: 0)
    feed.start()
    try:
        assert again.wait(30)
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"NOTIFY {CHANNEL}, 'nobody reads it'")
        store = SqlStore(postgres_url, "normal")
        store.commit([make.decision("d1")])
        assert committed.wait(30)
        store.close()
    finally:
        feed.close()


def test_what_was_folded_is_asked_for_before_the_log_is_looked_at(postgres_url: str, make: Any) -> None:
    heard: list[News] = []
    looked = threading.Event()
    store = SqlStore(postgres_url, "normal")

    def hear(news: News) -> None:
        heard.append(news)
        looked.set()

    def folded() -> int:  # something is committed between the two
        store.commit([make.decision(f"d{store.last_seq()}")])
        return store.last_seq() - 1

    feed = LogFeed(postgres_url, hear, folded)
    feed.start()
    try:
        assert looked.wait(30)
    finally:
        feed.close()
        store.close()
    assert all(news.seq == news.folded + 1 for news in heard if news.group is None)
