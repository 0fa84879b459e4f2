from __future__ import annotations

import pytest

from sekisho.doors.dashboard import forms
from sekisho.doors.dashboard.forms import FIELDS_MAX, FORM_MAX_BYTES, Form, parse
from sekisho.doors.dashboard.problems import PageProblem

TYPE = "application/x-www-form-urlencoded"


def test_fields_are_read_as_they_were_typed() -> None:
    form = parse(b"a=+x+&b=%E9%96%A2&c=1&c=2&d=&e=1%0D%0A2", f"{TYPE}; charset=UTF-8")
    assert form.text("a") == "x"
    assert form.raw("a") == " x "
    assert form.secret("a").reveal() == " x "
    assert form.text("b") == "関"
    assert form.all("c") == ("1", "2")
    assert form.flag("c")
    assert not form.flag("d")
    assert form.text("e") == "1\n2"
    assert form.text("none") == ""


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"a=1", "text/plain", 415),
        (b"a=1", "application/json", 415),
        (b"a=1", "multipart/form-data; boundary=x", 415),
        (b"a=1", "", 415),
        (b"a" * (FORM_MAX_BYTES + 1), TYPE, 413),
        (b"&".join([b"a=1"] * (FIELDS_MAX + 1)), TYPE, 400),
        (b"a=%FF", TYPE, 400),
        (b"a=%00", TYPE, 400),
        (b"a\0=1", TYPE, 400),
        ("a=é".encode(), TYPE, 400),
    ],
)
def test_what_is_no_form_of_ours(body: bytes, content_type: str, status: int) -> None:
    with pytest.raises(PageProblem) as caught:
        parse(body, content_type)
    assert caught.value.status == status


def test_a_field_has_a_bound() -> None:
    form = Form((("a", "x" * (forms.TEXT_MAX + 1)),))
    with pytest.raises(PageProblem) as caught:
        form.text("a")
    assert caught.value.status == 413


def test_nothing_at_all_is_an_empty_form() -> None:
    assert parse(b"", "") == Form()
