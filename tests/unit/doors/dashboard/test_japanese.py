from __future__ import annotations

import pytest

from sekisho.users import User
from tests.fakes.dashboard import Browser, Dashboard


@pytest.mark.parametrize(
    ("path", "heading"),
    [
        ("/keys", "APIキー"),
        ("/keys/new", "APIキーの作成"),
        ("/subusers", "サブユーザー"),
        ("/subusers/new", "サブユーザーの作成"),
        ("/teammates", "チームメイト"),
        ("/invitations/new", "チームメイトを招待する"),
        ("/ip-access", "IPアクセス"),
        ("/audit", "監査ログ"),
        ("/notices", "お知らせ"),
    ],
)
async def test_pages_speak_japanese(dashboard: Dashboard, ann: User, path: str, heading: str) -> None:
    browser = Browser(dashboard, language="ja")
    await browser.enter(ann)
    assert (await browser.get(path)).status_code == 200
    assert browser.heading() == heading
    assert '<html lang="ja">' in browser.text


async def test_what_is_wrong_and_what_was_done_is_said_in_japanese(dashboard: Dashboard, ann: User) -> None:
    browser = Browser(dashboard, language="ja")
    await browser.enter(ann)
    await browser.post("/ip-access/add", {"entries": "nowhere"})
    assert "1行に1つずつ" in browser.text
    await browser.post("/subusers", {"username": "acme", "email": "a@example.com", "password": "correct horse battery"})
    assert "この名前は使われています。" in browser.text
    await browser.post("/keys", {"name": "n", "access": "send", "daily": "many"})
    assert "1〜1000000000の整数" in browser.text
    await browser.post("/audit/verify")
    assert "件のエントリーはすべて書かれたときのまま" in browser.text
