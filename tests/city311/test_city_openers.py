"""What is said before a tool runs goes with what it finds, and claims nothing."""

from datetime import datetime

import pytest
from conftest import Clock

from apps.city311.app import app
from apps.city311.city import City
from apps.city311.persona import is_sayable
from halfbeat.application import Call, Caller

CALLER = "+15550100142"


@pytest.fixture
async def call(city: City, clock: Clock) -> Call:
    def now() -> datetime:
        return clock()

    call = Call("call-1", Caller(CALLER), now=now, resources=city)
    await app.open(call)
    return call


async def spoken(call: Call, tool: str, said: str) -> tuple[str | None, str]:
    """The opener, asked on a copy of the call as a draft does, and the words of the tool that runs after it."""
    opener = app.tools[tool].opener(call.supposing(said))
    call.said = said
    return opener, (await app.run(call, tool, "{}")).say or ""


async def test_the_words_of_a_call_that_goes_well_go_on_from_their_openers(call: Call) -> None:
    steps = [
        ("lookup_service_status", "Nobody came this morning.", "I'm sorry,"),
        ("schedule_pickup", "Yes, please send a truck.", "Okay,"),
        ("send_confirmation_text", "Text me.", "Sure,"),
        ("report_issue", "There is a pothole too.", "Thanks,"),
    ]
    for tool, said, expected in steps:
        opener, say = await spoken(call, tool, said)
        assert opener == expected
        assert say.startswith(expected), (tool, say)


async def test_what_may_be_refused_is_not_opened_with_a_yes(call: Call) -> None:
    opener, say = await spoken(call, "schedule_pickup", "Can you send them today?")
    assert opener == "Let me see."
    assert "can't" in say
    opener, say = await spoken(call, "send_confirmation_text", "Text me.")
    assert (opener, "nothing to confirm" in say) == ("Well,", True)
    await spoken(call, "schedule_pickup", "Then tomorrow.")
    call.caller = Caller(None)
    opener, say = await spoken(call, "send_confirmation_text", "Text me.")
    assert (opener, "can't see your number" in say) == ("Well,", True)


async def test_a_text_that_was_sent_is_not_promised_again(call: Call) -> None:
    await spoken(call, "schedule_pickup", "Yes, please.")
    await spoken(call, "send_confirmation_text", "Text me.")
    opener, say = await spoken(call, "send_confirmation_text", "Text me.")
    assert (opener, "already" in say) == ("Well,", True)


async def test_no_opener_claims_what_was_not_done_and_all_of_them_are_prepared(call: Call) -> None:
    openers = {
        app.tools[tool].opener(call.supposing(said))
        for tool in app.tools
        for said in ("", "There is a pothole.", "Can they come on Sunday?")
    }
    for opener in openers - {None}:
        assert opener in {*app.openers, *app.prepares}
        assert is_sayable(opener or "")


def test_the_model_itself_has_done_nothing() -> None:
    assert not is_sayable("Done,")
    assert not is_sayable("Done, a truck is on its way.")
    assert is_sayable("It can be done.")


async def test_the_goodbye_is_known_beforehand_and_hangs_up_only_when_it_is_meant(call: Call) -> None:
    assert (app.tools["end_call"].says or "").endswith("Goodbye!")
    assert not call.is_hanging_up
    await spoken(call, "end_call", "Bye.")
    assert call.is_hanging_up
