# ruff: noqa: E501  # the vendor's sentences, word for word

"""What may stand in the body of mail/send, and what each mistake is called."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.doors.api.v3.mail_request import read
from sekisho.doors.api.v3.mail_send import header_of
from sekisho.wire.mail.headers import parse

NOW_S = 1_795_500_000
MAIL: dict[str, Any] = {
    "personalizations": [{"to": [{"email": "b@there.example", "name": "Bea"}]}],
    "from": {"email": "a@example.com", "name": "Acme"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi."}],
}


def changed(**parts: Any) -> dict[str, Any]:
    return {name: value for name, value in (MAIL | parts).items() if value is not ...}


def to(**parts: Any) -> dict[str, Any]:
    """One personalization, changed."""
    return changed(personalizations=[MAIL["personalizations"][0] | parts])


def errors(mail: object) -> list[tuple[str | None, str]]:
    found = read(mail, NOW_S)
    assert isinstance(found, tuple)
    return [(error.field, error.message) for error in found]


LATER = "The {} parameter is not carried out by this version of Sekisho. Leave it out of the request."


@pytest.mark.parametrize(
    ("mail", "field", "name"),
    [
        (changed(template_id="d-0123"), "template_id", "template_id"),
        (changed(sections={"a": "b"}), "sections", "sections"),
        (changed(send_at=4_000_000_000), "send_at", "send_at"),
        (changed(batch_id="x"), "batch_id", "batch_id"),
        (changed(asm={"group_id": 1}), "asm", "asm"),
        (changed(ip_pool_name="pool"), "ip_pool_name", "ip_pool_name"),
        (to(substitutions={"a": "b"}), "personalizations.0.substitutions", "substitutions"),
        (to(dynamic_template_data={"a": 1}), "personalizations.0.dynamic_template_data", "dynamic_template_data"),
        (to(send_at=4_000_000_000), "personalizations.0.send_at", "send_at"),
        (changed(mail_settings={"footer": {"enable": True}}), "mail_settings.footer", "footer"),
        (
            changed(mail_settings={"bypass_list_management": {"enable": True}}),
            "mail_settings.bypass_list_management",
            "bypass_list_management",
        ),
        (
            changed(tracking_settings={"click_tracking": {"enable": True}}),
            "tracking_settings.click_tracking",
            "click_tracking",
        ),
    ],
)
def test_what_is_not_carried_out_is_refused_by_name(mail: dict[str, Any], field: str, name: str) -> None:
    assert errors(mail) == [(field, LATER.format(name))]


EXAMPLE = 'e.g. {"email": "example@example.com"} or {"email": "example@example.com", "name": "Example Recipient"}'
FILE = {"content": "YQ==", "filename": "a.txt"}


def attached(**parts: Any) -> dict[str, Any]:
    return changed(attachments=[{name: value for name, value in (FILE | parts).items() if value is not ...}])


@pytest.mark.parametrize(
    ("mail", "field", "message"),
    [
        ([], None, "Invalid type. Expected: object, given: array."),
        (
            changed(personalizations=...),
            "personalizations",
            "The personalizations field is required and must have at least one personalization.",
        ),
        (
            changed(personalizations=[]),
            "personalizations",
            "The personalizations field is required and must have at least one personalization.",
        ),
        (changed(personalizations={}), "personalizations", "Invalid type. Expected: array, given: object."),
        (changed(personalizations=[1]), "personalizations.0", "Invalid type. Expected: object, given: integer."),
        (
            changed(personalizations=MAIL["personalizations"] * 1001),
            "personalizations",
            (
                "The personalization block is limited to 1000 personalizations per API request. You have provided 1001"
                " personalizations. Please consider splitting this into multiple requests and resending your request."
            ),
        ),
        (
            to(to=[{"email": f"b{number}@there.example"} for number in range(1001)]),
            "personalizations",
            "There is a limit of 1000 total recipients (to + cc + bcc) per request.",
        ),
        (
            to(to=[]),
            "personalizations.0.to",
            (
                "The to array is required for all personalization objects, and must have at least one email object with a"
                " valid email address."
            ),
        ),
        (to(to="b@there.example"), "personalizations.0.to", "Invalid type. Expected: array, given: string."),
        (to(to=[{"name": "B"}]), "personalizations.0.to.0.email", "The to email parameter is required."),
        (to(to=[{"email": "nobody"}]), "personalizations.0.to.0.email", "Does not contain a valid address."),
        (to(to=[{"email": 1}]), "personalizations.0.to.0.email", "Invalid type. Expected: string, given: integer."),
        (
            to(to=[{"email": "x@localhost"}]),
            "personalizations.0.to.0.email",
            "Addresses at IP addresses, local names or with an address inside are not accepted.",
        ),
        (
            to(to=[{"email": "b@there.example", "name": "a\r\nBcc: x"}]),
            "personalizations.0.to.0.name",
            "The name can't contain CR, LF or other control characters.",
        ),
        (
            to(cc=[]),
            "personalizations.0.cc",
            (
                "The cc array, when used, must at least have an 'email' parameter with a valid email address and it may also"
                f" contain a 'name' parameter. {EXAMPLE}"
            ),
        ),
        (
            to(bcc=[{}]),
            "personalizations.0.bcc.0",
            f"Each recipient object must at least have an email address and may also contain a name. {EXAMPLE}",
        ),
        (
            to(cc=[{"email": "B@there.example"}]),
            "personalizations.0",
            (
                "Each email address in the personalization block should be unique between to, cc, and bcc. We found the"
                " first duplicate instance of [B@there.example] in the personalizations.0.cc field."
            ),
        ),
        (to(nonsense=1), "personalizations.0.nonsense", "nonsense is not a parameter of this request."),
        (changed(nonsense=1), "nonsense", "nonsense is not a parameter of this request."),
        (
            changed(**{"from": ...}),
            "from",
            (
                "The from object must be provided for every email send. It is an object that requires the email parameter,"
                f" but may also contain a name parameter. {EXAMPLE}"
            ),
        ),
        (
            changed(**{"from": {"name": "x"}}),
            "from",
            (
                "The from object must at least have an 'email' parameter with a valid email address and may also contain a"
                f" 'name' parameter. {EXAMPLE}"
            ),
        ),
        (
            changed(**{"from": {"email": "ä@example.com"}}),
            "from.email",
            "The from email does not contain a valid address.",
        ),
        (changed(reply_to=[]), "reply_to", "Invalid type. Expected: object, given: array."),
        (
            changed(reply_to={}),
            "reply_to",
            (
                "The reply_to object, when used, must at least have an 'email' parameter with a valid email address and it"
                f" may also contain a 'name' parameter. {EXAMPLE}"
            ),
        ),
        (
            changed(reply_to_list=[{}]),
            "reply_to_list.0",
            (
                "The reply_to_list object, when used, must at least have an email parameter and may also contain a name"
                " parameter"
            ),
        ),
        (
            changed(reply_to={"email": "r@example.com"}, reply_to_list=[{"email": "r@example.com"}]),
            "reply_to",
            "Only one of reply_to and reply_to_list can be used.",
        ),
        (
            changed(subject=""),
            "subject",
            "The subject of your email must be a string at least one character in length.",
        ),
        (changed(subject=1), "subject", "Invalid type. Expected: string, given: integer."),
        (changed(subject="a\nb"), "subject", "The subject can't contain CR, LF or other control characters."),
        (
            changed(subject=...),
            "subject",
            (
                "The subject is required. You can get around this requirement if you use a template with a subject defined"
                " or if every personalization has a subject defined."
            ),
        ),
        (changed(headers={"X-A": 1}), "headers.X-A", "The header values must be strings."),
        (to(headers={"X-A": 1}), "personalizations.0.headers.X-A", "All values of the headers object must be strings."),
        (changed(headers={"X-A": "1", "x-a": "2"}), "headers.x-a", "The headers can't contain duplicate keys."),
        (
            changed(headers={"X A": "1"}),
            "headers.X A",
            "Header keys can't contain non-ASCII characters and empty spaces.",
        ),
        (
            to(headers={"Ä": "1"}),
            "personalizations.0.headers.Ä",
            "Header keys can't contain non-ASCII characters or empty spaces.",
        ),
        (changed(headers={"Received": "1"}), "headers.Received", "Header can not be one of the reserved keys."),
        (
            to(headers={"content-type": "1"}),
            "personalizations.0.headers.content-type",
            "Header can't be one of the reserved keys.",
        ),
        (
            changed(headers={"X-A": "a\r\nBcc: x@there.example"}),
            "headers.X-A",
            "The value of a header can't contain CR, LF or other control characters.",
        ),
        (changed(custom_args={}), "custom_args", "custom_args can't be empty."),
        (changed(custom_args={"a": 1}), "custom_args", "All values of custom arguments object must be strings"),
        (
            changed(custom_args={"a": "x" * 10_000}),
            "custom_args",
            (
                "The combined size of both global and personalization custom arguments may not exceed 10,000 bytes per"
                " personalization."
            ),
        ),
        (
            changed(content=...),
            "content",
            (
                "The content param is required unless you are using a transactional template and have defined a"
                " template_id."
            ),
        ),
        (
            changed(content=[]),
            "content",
            (
                "There must be at least one defined content block. We typically suggest both text/plain and text/html"
                " blocks are included, but only one block is required."
            ),
        ),
        (
            changed(content=[{"value": "x"}]),
            "content.0.type",
            "A content type is required, this tells email clients how to display the email.",
        ),
        (
            changed(content=[{"type": "", "value": "x"}]),
            "content.0.type",
            "Your content type must be a string with length of at least one character.",
        ),
        (
            changed(content=[{"type": "text/html; charset=x", "value": "x"}]),
            "content.0.type",
            "Cannot contain ';', or CRLF characters.",
        ),
        (
            changed(content=[{"type": "multipart/mixed", "value": "x"}]),
            "content.0.type",
            "The type must be one that a part of a message can have, such as text/plain or application/pdf.",
        ),
        (
            changed(content=[{"type": "text/plain"}]),
            "content.0.value",
            "A content value is required, this is the content of the email you are sending.",
        ),
        (
            changed(content=[{"type": "text/plain", "value": ""}]),
            "content.0.value",
            "The content value must be a string at least one character in length.",
        ),
        (
            changed(content=[{"type": "text/html", "value": "x"}, {"type": "text/plain", "value": "x"}]),
            "content",
            (
                "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in your email:"
                " text/plain needs to be first, followed by text/html, followed by any other content."
            ),
        ),
        (attached(content="%"), "attachments.0.content", "The attachment content must be base64 encoded."),
        (
            attached(content=""),
            "attachments.0.content",
            "The attachment content must be a string at least one character in length.",
        ),
        (
            attached(type=""),
            "attachments.0.type",
            "The attachment type must be a string and at least one character in length.",
        ),
        (attached(type="a/b;c"), "attachments.0.type", "The type can't contain ';', or CRLF characters."),
        (attached(filename=...), "attachments.0.filename", "filename is required."),
        (attached(filename=1), "attachments.0.filename", "The filename of your attachment must be a string."),
        (
            attached(filename="a\r\nb"),
            "attachments.0.filename",
            "The filename of your attachment can't contain CRLF characters.",
        ),
        (
            attached(disposition="side"),
            "attachments.0.disposition",
            'The disposition of your attachment can be either "inline" or "attachment". You provided side.',
        ),
        (
            attached(content_id=1),
            "attachments.0.content_id",
            "The content ID of your attachment must be a string. You provided 1.",
        ),
        (
            attached(content_id="a\r\nb"),
            "attachments.0.content_id",
            "The content ID of your attachment can't contain CRLF characters.",
        ),
        (changed(categories=[1]), "categories", "Categories must be an array of strings."),
        (
            changed(categories=list("abcdefghijk")),
            "categories",
            "There is a limit of 10 categories for each email that is sent. You provided 11 categories.",
        ),
        (
            changed(categories=["x" * 256]),
            "categories",
            f"Each category must not be longer than 255 characters. {'x' * 100} exceeds this limit.",
        ),
        (
            changed(categories=["a", "a"]),
            "categories",
            "The categories must be a unique list, and you have included a more than once.",
        ),
        (changed(categories=["ä"]), "categories", "Categories can not contain non-ASCII characters."),
        (
            changed(send_at="now"),
            "send_at",
            (
                "The send_at parameter is expecting a UNIX timestamp as an integer. We will send immediately if you include"
                " a send_at timestamp that is in the past."
            ),
        ),
        (
            changed(mail_settings={"sandbox_mode": {"enable": "yes"}}),
            "mail_settings.sandbox_mode.enable",
            "The sandbox mode enable param should be a boolean value.",
        ),
        (
            changed(tracking_settings={"ganalytics": {"enable": 1}}),
            "tracking_settings.ganalytics.enable",
            "The Google Analytics enable param must be a boolean value.",
        ),
        (changed(mail_settings=[]), "mail_settings", "Invalid type. Expected: object, given: array."),
    ],
)
def test_what_is_wrong_is_said_in_the_vendors_words(mail: object, field: str | None, message: str) -> None:
    assert errors(mail) == [(field, message)]


json_values: st.SearchStrategy[object] = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=3)
        | st.lists(json_values, max_size=3)
        | st.dictionaries(
            st.sampled_from(["email", "name", "to", "cc", "enable", "type", "value", "x"]), json_values, max_size=3
        )
    )
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *sorted(MAIL),
                "headers",
                "attachments",
                "asm",
                "categories",
                "reply_to",
                "reply_to_list",
                "custom_args",
                "mail_settings",
                "tracking_settings",
                "send_at",
            ]
        ),
        json_values,
    )
)
def test_whatever_json_it_is_it_gets_an_answer(parts: dict[str, Any]) -> None:
    found = read(MAIL | parts, NOW_S)

    if isinstance(found, tuple):
        assert found
        assert all(error.message for error in found)


def test_of_many_errors_a_hundred_are_named() -> None:
    found = errors(changed(personalizations=[{"to": [{"email": "x"}]}] * 200))

    assert len(found) == 101
    assert found[-1] == (None, "There are more errors than these.")


@given(
    subject=st.text(min_size=1),
    name=st.text(),
    headers=st.dictionaries(st.text(min_size=1, max_size=12), st.text(max_size=30), max_size=3),
)
def test_what_is_taken_becomes_exactly_the_fields_it_names(subject: str, name: str, headers: dict[str, str]) -> None:
    mail = to(subject=subject, cc=[{"email": "c@there.example", "name": name}], headers={"X-One": "1"} | headers)

    found = read(mail, NOW_S)
    if isinstance(found, tuple):
        return
    block = header_of(found, 0, found.personalizations[0])

    fields = parse(block)
    assert isinstance(fields, tuple)
    assert [field.name for field in fields] == [
        b"from",
        b"to",
        b"cc",
        b"subject",
        *(name.lower().encode() for name, _ in found.personalizations[0].headers),
    ]
