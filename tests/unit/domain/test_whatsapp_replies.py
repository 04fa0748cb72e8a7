"""Whose fault is it? Each provider's published words, and what they are taken for."""

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

PERSON = [130472, 131021, 131026, 131030, 131047, 131049, 131050]
OURS = [0, 3, 10, 33, 190, 200, 299, 368, 130497, 131005, 131031, 131042, 131045, 132001, 132015]
LATER = [1, 2, 131000, 131016, 133004]
TOO_FAST = [4, 80007, 130429, 131048]
WRONG = [100, 131008, 131009, 131051, 132005]


def graph(code: int, status: int = 400, **more: Any) -> Reply:
    """Return an error in the shape of Meta's; a status of its own would say less."""
    return Reply(status, {"error": {"message": "words", "code": code, **more}})


def meant(module: Any, reply: Reply) -> type[Exception]:
    with pytest.raises(Exception, match=str(reply.status)) as caught:
        module.parse_reply(reply)
    return caught.type


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (PERSON, UndeliverableError),
        (OURS, RefusedError),
        (LATER, OutsideError),
        (TOO_FAST, ThrottledError),
        (WRONG, RejectedError),
    ],
)
def test_metas_codes_say_whose_fault_it_is(codes: list[int], kind: type[Exception]) -> None:
    """Meta: build on the code, not on the status."""
    expected = dict.fromkeys(codes, kind)

    assert expected == {code: meant(cloud, graph(code)) for code in codes}


def test_a_phone_number_id_that_does_not_exist_is_ours() -> None:
    reply = graph(100, error_subcode=33)

    assert RefusedError is meant(cloud, reply)


def test_too_many_for_one_person_holds_up_nobody_else() -> None:
    with pytest.raises(ThrottledError) as caught:
        cloud.parse_reply(graph(131056))

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
def test_what_is_not_the_providers_own_is_judged_by_its_status(
    module: Any, status: int, kind: type[Exception], body: Any
) -> None:
    """A proxy, a hotel's network, a wrong address: a 200 may yet have been sent."""
    assert kind is meant(module, Reply(status, body))


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
def test_fonntes_reasons_say_whose_fault_it_is(
    key: str, reason: str, kind: type[Exception]
) -> None:
    """Fonnte: every reply is a 200, and the key is written in two ways."""
    assert kind is meant(fonnte, Reply(200, {key: False, "reason": reason}))


def test_a_message_that_was_taken_has_the_providers_id() -> None:
    meta = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.X"}]}
    theirs = {"status": True, "id": ["80367170"], "process": "pending"}

    assert "wamid.X" == cloud.parse_reply(Reply(200, meta))
    assert "80367170" == fonnte.parse_reply(Reply(200, theirs))


def test_what_a_provider_quotes_is_not_repeated() -> None:
    """L11: neither the number nor the token that an error's words repeat."""
    words = "Malformed token EAAGm0PX4ZCpsBAKZDZD for +62 812-3456-7890"
    with pytest.raises(RefusedError) as caught:
        cloud.parse_reply(graph(190, 401, error_data={"details": words}))

    assert "401: 190 Malformed token *** for ***" == str(caught.value)
