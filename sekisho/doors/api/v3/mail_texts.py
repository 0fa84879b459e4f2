"""What mail/send answers to a request that is not one: the vendor's sentences, word for word (sheet mail-send.md §4).

Where the vendor has two, the one that was seen live. Those at the end are ours, for what the vendor has no recorded
sentence for.
"""

from __future__ import annotations

from typing import Final

_EXAMPLE: Final = (
    'e.g. {"email": "example@example.com"} or {"email": "example@example.com", "name": "Example Recipient"}'
)
_HELP: Final = "http://sendgrid.com/docs/API_Reference/Web_API_v3/Mail/errors.html"
TYPE: Final = "Invalid type. Expected: {expected}, given: {given}."
UTF8: Final = "Invalid UTF8 in request."
BAD_REQUEST: Final = "Bad Request"

PERSONALIZATIONS: Final = "The personalizations field is required and must have at least one personalization."
PERSONALIZATIONS_MANY: Final = (
    "The personalization block is limited to 1000 personalizations per API request. You have provided {count}"
    " personalizations. Please consider splitting this into multiple requests and resending your request."
)
RECIPIENTS_MANY: Final = "There is a limit of 1000 total recipients (to + cc + bcc) per request."
DUPLICATE: Final = (
    "Each email address in the personalization block should be unique between to, cc, and bcc. We found the first"
    " duplicate instance of [{email}] in the {field} field."
)
TO: Final = (
    "The to array is required for all personalization objects, and must have at least one email object with a valid"
    " email address."
)
TO_EMAIL: Final = "The to email parameter is required."
ADDRESS: Final = "Does not contain a valid address."
COPIES: Final = (
    "The {name} array, when used, must at least have an 'email' parameter with a valid email address and it may also"
    f" contain a 'name' parameter. {_EXAMPLE}"
)
COPY: Final = f"Each recipient object must at least have an email address and may also contain a name. {_EXAMPLE}"

FROM: Final = (
    "The from object must be provided for every email send. It is an object that requires the email parameter, but may"
    f" also contain a name parameter. {_EXAMPLE}"
)
FROM_OBJECT: Final = (
    "The from object must at least have an 'email' parameter with a valid email address and may also contain a 'name'"
    f" parameter. {_EXAMPLE}"
)
FROM_EMAIL: Final = "The from email does not contain a valid address."
REPLY_TO: Final = (
    "The reply_to object, when used, must at least have an 'email' parameter with a valid email address and it may also"
    f" contain a 'name' parameter. {_EXAMPLE}"
)
REPLY_TO_LIST: Final = (
    "The reply_to_list object, when used, must at least have an email parameter and may also contain a name parameter"
)

SUBJECT: Final = "The subject of your email must be a string at least one character in length."
SUBJECT_REQUIRED: Final = (
    "The subject is required. You can get around this requirement if you use a template with a subject defined or if"
    " every personalization has a subject defined."
)

HEADER_VALUES: Final = "The header values must be strings."
HEADER_VALUES_EACH: Final = "All values of the headers object must be strings."
HEADER_TWICE: Final = "The headers can't contain duplicate keys."
HEADER_KEYS: Final = "Header keys can't contain non-ASCII characters and empty spaces."
HEADER_KEYS_EACH: Final = "Header keys can't contain non-ASCII characters or empty spaces."
HEADER_RESERVED: Final = "Header can not be one of the reserved keys."
HEADER_RESERVED_EACH: Final = "Header can't be one of the reserved keys."

ARGS_VALUES: Final = "All values of custom arguments object must be strings"
ARGS_EMPTY: Final = "custom_args can't be empty."
ARGS_SIZE: Final = (
    "The combined size of both global and personalization custom arguments may not exceed 10,000 bytes per"
    " personalization."
)

CONTENT_REQUIRED: Final = (
    "The content param is required unless you are using a transactional template and have defined a template_id."
)
CONTENT_EMPTY: Final = (
    "There must be at least one defined content block. We typically suggest both text/plain and text/html blocks are"
    " included, but only one block is required."
)
CONTENT_TYPE_REQUIRED: Final = "A content type is required, this tells email clients how to display the email."
CONTENT_TYPE: Final = "Your content type must be a string with length of at least one character."
CONTENT_TYPE_MARKS: Final = "Cannot contain ';', or CRLF characters."
CONTENT_VALUE_REQUIRED: Final = "A content value is required, this is the content of the email you are sending."
CONTENT_VALUE: Final = "The content value must be a string at least one character in length."
CONTENT_ORDER: Final = (
    "Following RFC 1341, section 7.2, if either text/html or text/plain are to be sent in your email: text/plain needs"
    " to be first, followed by text/html, followed by any other content."
)

FILE_BASE64: Final = "The attachment content must be base64 encoded."
FILE_CONTENT: Final = "The attachment content must be a string at least one character in length."
FILE_TYPE: Final = "The attachment type must be a string and at least one character in length."
FILE_TYPE_MARKS: Final = "The type can't contain ';', or CRLF characters."
FILE_NAME_REQUIRED: Final = "filename is required."
FILE_NAME: Final = "The filename of your attachment must be a string."
FILE_NAME_MARKS: Final = "The filename of your attachment can't contain CRLF characters."
FILE_DISPOSITION: Final = (
    'The disposition of your attachment can be either "inline" or "attachment". You provided {given}.'
)
FILE_ID: Final = "The content ID of your attachment must be a string. You provided {given}."
FILE_ID_MARKS: Final = "The content ID of your attachment can't contain CRLF characters."

CATEGORIES: Final = "Categories must be an array of strings."
CATEGORIES_MANY: Final = (
    "There is a limit of 10 categories for each email that is sent. You provided {count} categories."
)
CATEGORY_LONG: Final = "Each category must not be longer than 255 characters. {given} exceeds this limit."
CATEGORY_TWICE: Final = "The categories must be a unique list, and you have included {given} more than once."
CATEGORY_ASCII: Final = "Categories can not contain non-ASCII characters."

SEND_AT: Final = (
    "The send_at parameter is expecting a UNIX timestamp as an integer. We will send immediately if you include a"
    " send_at timestamp that is in the past."
)
ENABLE: Final = {
    "bcc": "The bcc enable param should be a boolean value.",
    "bypass_list_management": "The bypass list management enable param should be a boolean value.",
    "footer": "The footer enable param should be a boolean value.",
    "sandbox_mode": "The sandbox mode enable param should be a boolean value.",
    "spam_check": "The spam check enable param should be a boolean value.",
    "click_tracking": "The click tracking enable param should be a boolean value.",
    "open_tracking": "The open tracking enable param should be a boolean value.",
    "subscription_tracking": "The subscription tracking enable param should be a boolean value.",
    "ganalytics": "The Google Analytics enable param must be a boolean value.",
}
CLICK_TEXT: Final = "The click tracking enable text must be a boolean value."

# Ours.

LATER: Final = "The {name} parameter is not carried out by this version of Sekisho. Leave it out of the request."
UNKNOWN: Final = "{name} is not a parameter of this request."
CONTROL: Final = "The {name} can't contain CR, LF or other control characters."
NOT_A_TYPE: Final = "The type must be one that a part of a message can have, such as text/plain or application/pdf."
REPLY_TO_BOTH: Final = "Only one of reply_to and reply_to_list can be used."
REPLY_TO_TWICE: Final = "Each address may stand once in reply_to_list."
REPLY_TO_MANY: Final = "There is a limit of 1000 addresses in reply_to_list."
FILE_ID_ASCII: Final = (
    "The content ID of your attachment must be 1 to 900 ASCII characters without blanks and angle brackets."
)
HEADER_LONG: Final = "The value of this header can't be written in lines of 998 characters."
ADDRESS_PLACE: Final = "Addresses at IP addresses, local names or with an address inside are not accepted."
MANY: Final = "There are more errors than these."


def help_of(section: str | None) -> str | None:
    """Give the address of the vendor's page about a field."""
    if section is None:
        return None
    if section == "personalizations":
        return f"{_HELP}#-Personalizations-Errors"
    return f"{_HELP}#message.{section}"
