from __future__ import annotations

import pytest

from sekisho.doors.api.problems import no_json, plain, refused, unreadable
from sekisho.refusal import Reason, Refused


@pytest.mark.parametrize(
    ("said", "field", "message"),
    [
        ("Expected `str`, got `int` - at `$.name`", "name", "Invalid type. Expected: string, given: integer."),
        ("Expected `int | null`, got `str` - at `$.policy.daily`", "policy.daily", "Invalid type. Expected: int"),
        ("Object missing required field `name`", "name", "name is required"),
        ("Object missing required field `ip` - at `$.ips[3]`", "ips.3.ip", "ip is required"),
        ("Object contains unknown field `dayly` - at `$.policy`", "policy.dayly", "dayly is not a parameter of this"),
        ("Object contains unknown field `nane`", "nane", "nane is not a parameter of this request."),
        ("Missing required query parameter 'start_date' for path /v3/x", "start_date", "start_date is required"),
        ("Expected `object`, got `array`", None, "Invalid type. Expected: object, given: array."),
    ],
)
def test_what_a_decoder_says_becomes_the_vendors_error_at_its_place(said: str, field: str | None, message: str) -> None:
    (error,) = unreadable(said).errors
    assert error.field == field
    assert error.message.startswith(message)


def test_a_from_that_is_nobodys_names_the_domain_beside_the_vendors_sentence() -> None:
    (error,) = refused(Refused(Reason.FROM_UNVERIFIED, "example.com")).errors
    assert error.message.startswith("The from address does not match a verified Sender Identity.")
    assert error.help == "example.com is not an authenticated domain of this account or subuser"


def test_a_body_of_no_use_is_told_what_one_is() -> None:
    assert [error.help for error in no_json().errors] == ["the body is not JSON"]
    (error,) = plain(415).errors
    assert error.help is not None
    assert "application/json" in error.help
    assert plain(404).errors[0].help is None
