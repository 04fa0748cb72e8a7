"""The replies of the WhatsApp providers, and the error that each of them raises."""

from typing import Any

import pytest

from jobs.whatsapp import cloud, fonnte
from jobs.whatsapp.settings import UndeliverableError
from sweeper import (
    LostReplyError,
    OutsideError,
    RefusedError,
    RejectedError,
    Reply,
    ThrottledError,
)

RECIPIENT = [130472, 131021, 131026, 131030, 131047, 131049, 131050]
ACCOUNT = [0, 3, 10, 33, 190, 200, 299, 368, 130497, 131005, 131031, 131042, 131045, 132001, 132015]
TEMPORARY = [1, 2, 131000, 131016, 133004]
RATE = [4, 80007, 130429, 131048]
MESSAGE = [100, 131008, 131009, 131051, 132005]


def cloud_error(code: int, status: int = 400, **more: Any) -> Reply:
    """Return an error reply in Meta's format."""
    return Reply(status, {"error": {"message": "words", "code": code, **more}})


def error_of(module: Any, reply: Reply) -> type[Exception]:
    with pytest.raises(Exception, match=str(reply.status)) as caught:
        module.parse_reply(reply)
    return caught.type


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (RECIPIENT, UndeliverableError),
        (ACCOUNT, RefusedError),
        (TEMPORARY, OutsideError),
        (RATE, ThrottledError),
        (MESSAGE, RejectedError),
    ],
)
def test_each_error_code_of_meta_raises_the_right_error(
    codes: list[int], kind: type[Exception]
) -> None:
    """Meta's documentation says to rely on the error code and not on the HTTP status."""
    expected = dict.fromkeys(codes, kind)

    assert expected == {code: error_of(cloud, cloud_error(code)) for code in codes}


def test_an_unknown_phone_number_id_is_a_fault_of_the_account() -> None:
    reply = cloud_error(100, error_subcode=33)

    assert RefusedError is error_of(cloud, reply)


def test_a_rate_limit_for_one_recipient_affects_that_recipient_only() -> None:
    with pytest.raises(ThrottledError) as caught:
        cloud.parse_reply(cloud_error(131056))

    assert caught.value.alone


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, LostReplyError),
        (302, LostReplyError),
        (400, RejectedError),
        (401, RefusedError),
        (403, RefusedError),
        (404, RefusedError),
        (408, OutsideError),
        (413, RejectedError),
        (429, ThrottledError),
        (500, OutsideError),
        (503, OutsideError),
    ],
)
@pytest.mark.parametrize("module", [cloud, fonnte])
@pytest.mark.parametrize("body", [None, [], "text", {}, {"error": "text"}, {"messages": []}])
def test_a_reply_without_the_provider_s_format_is_classified_by_its_status(
    module: Any, status: int, kind: type[Exception], body: Any
) -> None:
    """A proxy or a wrong address can answer; behind a 200, the message may have been sent."""
    assert kind is error_of(module, Reply(status, body))


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("token invalid", RefusedError),
        ("invalid token", RefusedError),
        ("request invalid on disconnected device", RefusedError),
        ("devices must belong to an account", RefusedError),
        ("insufficient quota", RefusedError),
        ("unknown user", RefusedError),
        ("target invalid", UndeliverableError),
        ("request timeout", OutsideError),
        ("input invalid", RejectedError),
        ("JSON format invalid", RejectedError),
    ],
)
@pytest.mark.parametrize("key", ["status", "Status"])
def test_each_reason_of_fonnte_raises_the_right_error(
    key: str, reason: str, kind: type[Exception]
) -> None:
    """Every reply of Fonnte is a 200, and the key `status` has two spellings."""
    assert kind is error_of(fonnte, Reply(200, {key: False, "reason": reason}))


def test_an_accepted_message_has_the_provider_s_message_id() -> None:
    cloud_body = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.X"}]}
    fonnte_body = {"status": True, "id": ["80367170"], "process": "pending"}

    assert "wamid.X" == cloud.parse_reply(Reply(200, cloud_body))
    assert "80367170" == fonnte.parse_reply(Reply(200, fonnte_body))


def test_an_error_does_not_repeat_the_phone_or_token_that_the_provider_quotes() -> None:
    """L11: the provider's error message repeats the number and the token; ours masks both."""
    words = "Malformed token EAAGm0PX4ZCpsBAKZDZD for +62 812-3456-7890"
    with pytest.raises(RefusedError) as caught:
        cloud.parse_reply(cloud_error(190, 401, error_data={"details": words}))

    assert "401: 190 Malformed token *** for ***" == str(caught.value)
