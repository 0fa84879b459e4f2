from __future__ import annotations

import pytest

from sekisho.db import History, parse_postgres
from sekisho.secret import Secret
from tests.fakes.databases import url


@pytest.mark.parametrize(
    ("written", "parameters", "shown"),
    [
        ("postgresql://me@db.test/relay", {"host": "db.test", "port": "", "user": "me", "dbname": "relay"}, None),
        (
            "postgres://me:s%40cret@db.test:6432/relay",
            {"host": "db.test", "port": "6432", "user": "me", "password": "s@cret", "dbname": "relay"},
            "postgresql://me@db.test:6432/relay",
        ),
        (
            "postgresql://a.test,[2001:db8::1]:5433,c.test:5434/relay?target_session_attrs=read-write",
            {
                "host": "a.test,2001:db8::1,c.test", "port": ",5433,5434", "dbname": "relay",
                "target_session_attrs": "read-write",
            },
            "postgresql://a.test,2001:db8::1:5433,c.test:5434/relay",
        ),
        ("postgresql:///relay", {"dbname": "relay"}, None),
        ("postgresql:///relay?host=/run/pg&port=5433", {"host": "/run/pg", "port": "5433", "dbname": "relay"},
         "postgresql:///run/pg:5433/relay"),
        ("postgresql://%2Frun%2Fpg/relay", {"host": "/run/pg", "port": "", "dbname": "relay"},
         "postgresql:///run/pg/relay"),
    ],
)  # fmt: skip
def test_what_a_url_says_in_the_librarys_words(written: str, parameters: dict[str, str], shown: str | None) -> None:
    found = parse_postgres(written)
    assert found.parameters() == parameters
    assert str(found) == (shown or written)
    assert parse_postgres(url(found)) == found


@pytest.mark.parametrize(
    "written",
    [
        "mysql://me@db.test/relay",
        "postgresql://me:s3cret@db.test",
        "postgresql://me:s3cret@db.test/a/b",
        "postgresql://me:s3cret@db.test:port/relay",
        "postgresql://me:s3cret@db.test:99999/relay",
        "postgresql://me:s3cret@:5432/relay",
        "postgresql://me:s3cret@[::1/relay",
        "postgresql://me:s3cret@[::1]x/relay",
        "postgresql://me:s3cret%zz@db.test/relay",
        "postgresql://me:s3cret%00@db.test/relay",
        "postgresql://me@db.test/relay?password=s3cret",
        "postgresql://me@db.test/relay?sslmode=require&sslmode=s3cret",
        "postgresql://me@db.test/relay?host=s3cret",
        "postgresql://me@db.test/relay?s3cret",
        "postgresql://me@db.test/relay#s3cret",
    ],
)
def test_what_is_no_url_is_refused_without_being_quoted(written: str) -> None:
    with pytest.raises(ValueError, match=r"must|may|names|holds") as caught:
        parse_postgres(written)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_password_is_not_shown() -> None:
    found = parse_postgres("postgresql://me:s3cret@db.test/relay").of(History.EVENTS)
    assert found.password == Secret("s3cret")
    assert "s3cret" not in f"{found} {found!r}"


@pytest.mark.parametrize(
    ("written", "is_verified"),
    [
        ("postgresql:///relay", True),
        ("postgresql://%2Frun/relay", True),
        ("postgresql://localhost,[::1]/relay", True),
        ("postgresql://db.test/relay", False),
        ("postgresql://localhost,db.test/relay", False),
        ("postgresql://db.test/relay?sslmode=require", False),
        ("postgresql://db.test/relay?sslmode=verify-full", True),
    ],
)
def test_whether_it_is_known_who_answers(written: str, is_verified: bool) -> None:
    assert parse_postgres(written).is_verified() is is_verified
