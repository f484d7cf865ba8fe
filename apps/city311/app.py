"""The 311 call: what is known of the caller, and the tools that look up, book, text, report and hang up.

The state of the call decides which tools are open; the model only chooses among those. What a tool says are its exact
words, because days, times and promises must be right.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from apps.city311.address import Problem, denies_address, names_number, names_street
from apps.city311.bookings import Booking, PickupRefused, RefusalReason
from apps.city311.city import City, PlaceNews, open_city
from apps.city311.collection import ServiceState, StreetStatus
from apps.city311.confirmation import TextRefusalReason, TextRefused
from apps.city311.dates import WEEKDAYS, day_from_words, spoken_day, spoken_window
from apps.city311.directory import AddressUnclear, Place
from apps.city311.issues import issue_kind
from apps.city311.models import IssueKind
from apps.city311.persona import APOLOGY, EXAMPLES, FALLBACK, PERSONA, is_farewell, is_sayable
from halfbeat.application import Application, Call, Context, ToolResult

_ASK_ADDRESS = "What's your house number and street?"
_MORE = "Is there anything else?"
_SHALL_I = "Shall I book it?"
# Openers: each goes with whatever its tool may find, and promises nothing.
_LET_ME_SEE, _SORRY, _OKAY, _SURE, _THANKS, _WELL = "Let me see.", "I'm sorry,", "Okay,", "Sure,", "Thanks,", "Well,"

app = Application(
    "city311",
    PERSONA,
    examples=EXAMPLES,
    apology=APOLOGY,
    fallback=FALLBACK,
    openers=(_WELL, _OKAY),
    prepares=(_LET_ME_SEE, _SORRY, _SURE, _THANKS, _MORE, _SHALL_I, _ASK_ADDRESS),
)

# A day that is asked for, not the day that was missed: "on Friday", "can they come today", "the day after tomorrow".
_ASKS_FOR_A_DAY = re.compile(
    rf"\b(?:(?:on|for|by|next|this|until|till) (?:{'|'.join(WEEKDAYS)})\b(?!'s| pickup| was)|day after tomorrow"
    r"|(?<!n't )(?<!not )(?<!never )(?:come|send|book|schedule)\b[^.?!,]{0,24}\b(?:today|tonight))\b",
    re.IGNORECASE,
)


@app.lifespan
async def lifespan() -> AsyncIterator[City]:
    """The city's data, open as long as the service runs."""
    async with open_city() as city:
        yield city


@app.context
async def context(call: Call) -> Context:
    """Greet with the street, and with the reason for the call where the city can guess it."""
    city: City = call.resources
    today = f"Today is {spoken_day(city.today(call.now()), city.today(call.now())).removeprefix('today, ')}."
    caller = await city.look_up_caller(call.caller.number)
    news = await city.place_news(caller.place.address_id, call.now()) if caller else None
    if news is None:
        return Context(
            f"Hi, this is the city's 311 line. {_ASK_ADDRESS}",
            ("The caller's address is not known yet; ask for it.", "The extra pickup is free.", today),
        )
    _remember(call, news)
    street = news.place.street
    hello = f"Hi, I see you're calling from {street}."
    facts = [f"The caller lives at {news.place.words}."]
    if news.missed:
        missed = news.missed[0]
        day = "today's" if missed.missed_on == city.today(call.now()) else "the"
        opening = f"{hello} Are you reporting {day} missed {missed.kind.words} pickup?"
        facts.append(f"The {missed.kind.words} pickup there was missed.")
    elif news.bookings:
        opening = f"{hello} {_truck(call, news.bookings[0])} How can I help?"
        facts.append("A truck is booked already.")
    else:
        opening = f"{hello} How can I help you today?"
        facts.append("No pickup was missed there.")
    return Context(opening, (*facts, "The extra pickup is free.", today))


@app.check
def check(call: Call, clause: str) -> bool:
    """Only tools may say that something was done; an agent that says goodbye by itself means it."""
    if is_farewell(clause):
        call.hang_up()
    return is_sayable(clause)


def has_address(call: Call) -> bool:
    """Whether the caller's address is known."""
    return "address_id" in call.data


def means_address(call: Call) -> bool:
    """Whether the caller's words are an address for sure: another one than is known, or the number that was asked for.

    Where a problem is reported the street is that of the problem.
    """
    if issue_kind(call.said) is not IssueKind.OTHER:
        return False
    if not has_address(call):
        return "street" in call.data and names_number(call.said)
    return names_street(call.said, besides=call.data["address"]) or denies_address(call.said)


def can_book(call: Call) -> bool:
    """Whether a pickup was missed at a known address, and no truck is booked for it."""
    return has_address(call) and bool(call.data.get("missed")) and "booking_ref" not in call.data


def has_confirmation(call: Call) -> bool:
    """Whether there is something to confirm."""
    return "booking_ref" in call.data or "report_ref" in call.data


def can_text(call: Call) -> bool:
    """Whether there is something to confirm, or to be booked first."""
    return has_confirmation(call) or can_book(call)


def can_report(call: Call) -> bool:
    """While a missed pickup waits to be booked, only a problem that is named for sure leads away from it."""
    return not can_book(call) or issue_kind(call.said) is not IssueKind.OTHER


def asks_for_a_day(call: Call) -> bool:
    """Whether the caller wants the truck on a certain day, which may not be had."""
    return bool(_ASKS_FOR_A_DAY.search(call.said))


def can_text_now(call: Call) -> bool:
    """Whether nothing speaks against a text: there is what to send and where to, and it was not sent yet."""
    return has_confirmation(call) and call.caller.number is not None and "is_text_sent" not in call.data


def _status_opener(call: Call) -> str | None:
    if not has_address(call):
        return None
    return _SORRY if can_book(call) else _LET_ME_SEE


@app.tool(
    label="address",
    when=lambda call: not has_address(call) or means_address(call),
    is_meant=means_address,
    opener=_OKAY,
)
async def note_address(call: Call) -> ToolResult:
    """The caller says where they live, a house number or a street."""
    if "has_booked" in call.data:
        no = f"but the truck to {call.data['address']} is booked, and I can't change that on the phone."
        return ToolResult({"refused": "booked"}, f"{_OKAY} {no} The city's website can. {_MORE}")
    city: City = call.resources
    is_denied = denies_address(call.said)
    found = await city.resolve_address(call.said, besides=call.data.get("street", ""))
    if has_address(call):
        if _is_known(call, found):
            if not is_denied:
                return await lookup_service_status(call)
            found = AddressUnclear(Problem.NO_STREET)
        _forget(call)
    return await _take_address(call, found, _OKAY if is_denied else f"{_OKAY} but I didn't catch the street.")


@app.tool(label="status", opener=_status_opener)
async def lookup_service_status(call: Call) -> ToolResult:
    """The caller says trash was missed, or asks about the pickup, its time or why it was missed."""
    city: City = call.resources
    if not has_address(call):
        return await _take_address(call, await city.resolve_address(call.said), "I'm sorry about that.")
    news = await city.place_news(call.data["address_id"], call.now())
    assert news is not None
    if news.missed:
        reason = f"{news.missed[0].reason}, so " if news.missed[0].reason else ""
        sorry = f"{_SORRY} {reason}{news.place.street} was missed."
        return ToolResult({"missed": True}, f"{sorry} {_offer(call)}")
    if news.bookings:
        return ToolResult({"booked": True}, f"{_truck(call, news.bookings[0])} {_MORE}")
    status = await city.lookup_service_status(news.place.street, call.said, call.now())
    return ToolResult({"missed": False}, _schedule(call, f"on {news.place.street}", status))


@app.tool(label="book", when=can_book, opener=lambda call: _LET_ME_SEE if asks_for_a_day(call) else _OKAY)
async def schedule_pickup(call: Call) -> ToolResult:
    """The caller wants a truck sent, or a pickup tomorrow."""
    city: City = call.resources
    today = city.today(call.now())
    day = day_from_words(call.said, today) if asks_for_a_day(call) else None
    booking = await city.schedule_pickup(
        key=call.key("schedule_pickup", address=call.data["address_id"]),
        address_id=call.data["address_id"],
        kind=call.data["missed"],
        day=day,
        phone=call.caller.number,
        now=call.now(),
    )
    if isinstance(booking, PickupRefused):
        if booking.reason is RefusalReason.DAY_NOT_AVAILABLE:
            return ToolResult({"refused": booking.reason}, f"I can't book that day. {_offer(call)}")
        return ToolResult({"refused": booking.reason}, f"I don't see a missed pickup there. {_MORE}")
    call.data["booking_ref"] = booking.ref
    call.data["has_booked"] = True
    return ToolResult({"ref": booking.ref, "day": booking.day}, f"{_OKAY} {_truck(call, booking, 'a')} {_MORE}")


@app.tool(label="text", when=can_text, opener=lambda call: _SURE if can_text_now(call) else _WELL)
async def send_confirmation_text(call: Call) -> ToolResult:
    """The caller wants a confirmation text."""
    city: City = call.resources
    if not has_confirmation(call):
        return ToolResult(
            {"refused": TextRefusalReason.UNKNOWN_REFERENCE}, f"There is nothing to confirm yet. {_offer(call)}"
        )
    ref = call.data.get("booking_ref") or call.data["report_ref"]
    sent = await city.send_confirmation_text(ref=ref, to=call.caller.number, now=call.now())
    if isinstance(sent, TextRefused):
        no_number = "I can't see your number, so I can't text you."
        say = no_number if sent.reason is TextRefusalReason.NO_NUMBER else "I have nothing to confirm yet."
        return ToolResult({"refused": sent.reason}, f"{say} {_MORE}")
    call.data["is_text_sent"] = True
    say = (
        "I've already sent the text to your phone."
        if sent.is_repeat
        else f"{_SURE} I've just sent a text to your phone."
    )
    return ToolResult({"ref": sent.ref}, f"{say} {_MORE}")


@app.tool(
    label="problem",
    when=can_report,
    opener=lambda call: _WELL if issue_kind(call.said) is IssueKind.OTHER else _THANKS,
)
async def report_issue(call: Call) -> ToolResult:
    """The caller reports another problem in the street."""
    city: City = call.resources
    kind = issue_kind(call.said)
    if kind is IssueKind.OTHER:
        return ToolResult(
            {"reported": False},
            "I can help with trash pickups, and with street problems like potholes, street lights or graffiti."
            " What is it about?",
        )
    report = await city.report_issue(
        key=call.key("report_issue", kind=kind),
        kind=kind.words,
        description=call.said,
        location=call.data.get("address", ""),
        phone=call.caller.number,
        now=call.now(),
    )
    call.data["report_ref"] = report.ref
    return ToolResult({"ref": report.ref}, f"{_THANKS} I've reported the {report.kind.words}. {_MORE}")


@app.tool(label="bye", cancel_on_barge_in=True, says="You're welcome. Have a good day. Goodbye!")
async def end_call(call: Call) -> None:
    """The caller is done or says goodbye."""
    call.hang_up()


def _remember(call: Call, news: PlaceNews) -> None:
    call.data["address_id"] = news.place.address_id
    call.data["address"] = news.place.words
    call.data["street"] = news.place.street
    call.data["missed"] = news.missed[0].kind.words if news.missed else ""
    if news.bookings and not news.missed:
        call.data["booking_ref"] = news.bookings[0].ref


def _forget(call: Call) -> None:
    """The address is another one: no truck goes anywhere before all of it was said."""
    for what in ("address_id", "address", "street", "missed", "booking_ref"):
        call.data.pop(what, None)


def _truck(call: Call, booking: Booking, article: str = "A") -> str:
    city: City = call.resources
    day = spoken_day(booking.day, city.today(call.now()))
    return f"{article} truck comes to {booking.street} {day}, {booking.window}."


def _offer(call: Call) -> str:
    city: City = call.resources
    window = spoken_window(city.settings.pickup_window_start, city.settings.pickup_window_end)
    return f"I can send a truck tomorrow {window}. {_SHALL_I}"


def _schedule(call: Call, where: str, status: StreetStatus | AddressUnclear) -> str:
    city: City = call.resources
    services = status.services if isinstance(status, StreetStatus) else ()
    regular = [s for s in services if s.state is not ServiceState.MISSED]
    if not regular:
        return f"I don't see a missed pickup {where}. {_MORE}"
    first = regular[0]
    day = spoken_day(first.next_on, city.today(call.now()))
    return f"I don't see a missed pickup {where}. The next {first.kind.words} pickup is {day}. {_MORE}"


async def _take_address(call: Call, found: Place | AddressUnclear, if_nothing: str) -> ToolResult:
    """Tell what the city knows of the address in the caller's words, or ask for what is missing."""
    city: City = call.resources
    has_no_street = isinstance(found, AddressUnclear) and found.problem is Problem.NO_STREET
    if has_no_street and "street" in call.data and names_number(call.said):
        found = await city.resolve_address(f"{call.said} {call.data['street']}")
    if isinstance(found, AddressUnclear):
        return _ask_again(call, found, if_nothing)
    news = await city.place_news(found.address_id, call.now())
    assert news is not None
    _remember(call, news)
    if news.missed:
        kind = news.missed[0].kind.words
        offer = f"{_OKAY} I see that the {kind} pickup at {found.words} was missed. {_offer(call)}"
        return ToolResult({"address": found.words, "missed": True}, offer)
    if news.bookings:
        return ToolResult({"address": found.words}, f"{_OKAY} {_truck(call, news.bookings[0], 'a')} {_MORE}")
    status = await city.lookup_service_status(found.street, None, call.now())
    say = f"{_OKAY} {_schedule(call, f'at {found.words}', status)}"
    return ToolResult({"address": found.words, "missed": False}, say)


def _is_known(call: Call, found: Place | AddressUnclear) -> bool:
    """Whether this is the address that is known, or its street alone."""
    if isinstance(found, AddressUnclear):
        return found.problem is Problem.NO_NUMBER and found.street == call.data["street"]
    return bool(found.address_id == call.data["address_id"])


def _ask_again(call: Call, unclear: AddressUnclear, if_nothing: str) -> ToolResult:
    """Ask for what is missing; the street is kept, so that a number alone completes it."""
    if unclear.street:
        call.data["street"] = unclear.street
    match unclear.problem:
        case Problem.NO_NUMBER:
            say = f"{_OKAY} what's the house number on {unclear.street}?"
        case Problem.NUMBER_NOT_ON_STREET:
            say = f"{_OKAY} but I can't find that number on {unclear.street}. What's the house number?"
        case Problem.AMBIGUOUS_STREET:
            say = f"{_OKAY} is that {' or '.join(unclear.candidates[:2])}?"
        case _:
            say = f"{if_nothing} {_ASK_ADDRESS}"
    return ToolResult({"problem": unclear.problem}, say)
