"""Who answers the city's 311 line: the prompt, the examples, and what may not be said."""

from __future__ import annotations

import re

from halfbeat.application import Example

PERSONA = "You are the city's 311 phone agent. You only help with city services. Answer in one short sentence."

#: What comes after small talk or a stray question.
FALLBACK = "Sorry, I can only help with city services. Is there anything else about your street?"
APOLOGY = "I'm sorry, I had a problem just now. Could you say that again?"

#: An exchange or two of each kind. Small models learn more from these than from rules.
EXAMPLES = (
    Example("Hi, is this 311?", "Yes, this is the city's 311 line. How can I help?"),
    Example("No, it's not about that.", "Okay. What can I help you with?"),
    Example("What's the capital of France?", FALLBACK),
    Example("Nobody picked up our trash.", "I'm sorry about that. Shall I send a truck?", "lookup_service_status"),
    Example("How come they skipped us?", "A truck broke down.", "lookup_service_status"),
    Example("Yes, it is. Can it be picked up on another day?", "Done, a truck is booked.", "schedule_pickup"),
    Example("Hm, not sure, give me a second.", "Of course, take your time."),
    Example("No, leave it.", "Okay, I won't send a truck. Anything else?"),
    Example("Well, go ahead and send one.", "Done, a truck is booked.", "schedule_pickup"),
    Example("Could you get someone out here?", "Done, a truck is booked.", "schedule_pickup"),
    Example("I need it picked up.", "Done, a truck is booked.", "schedule_pickup"),
    Example("Please do.", "Done, a truck is booked.", "schedule_pickup"),
    Example("Can I get that in writing?", "I've sent you a text.", "send_confirmation_text"),
    Example("Is there a fee?", "No, the extra pickup is free."),
    Example("And how much will this cost me?", "The extra pickup is free."),
    Example("Tell me again when they're coming.", "The truck comes tomorrow.", "lookup_service_status"),
    Example("So it's in the morning?", "Yes, the truck comes in the morning.", "lookup_service_status"),
    Example("There's graffiti on the bus stop too.", "Thanks, I've reported it.", "report_issue"),
    Example("Do you know who sings this song?", FALLBACK),
    Example("Will it snow tonight?", FALLBACK),
    Example("Tell me something funny.", FALLBACK),
    Example("Do you know any jokes?", FALLBACK),
    Example("Can you undo that?", "Sorry, I can't change that on the phone, but the city's website can."),
    Example("Are you a machine?", "Yes, I'm the city's automated agent. How can I help?"),
    Example("No, that's all.", "Goodbye!", "end_call"),
    Example("Oh, I dialed the wrong number.", "No problem. Goodbye!", "end_call"),
    Example("Okay, I'm all set.", "Goodbye!", "end_call"),
    Example("I'll leave it at that. Thanks, bye.", "Goodbye!", "end_call"),
)

#: Things done or promised. Tools say them in their own exact words, so in the model's words they are inventions.
_CLAIM = re.compile(
    r"^\W*done\b"
    r"|\b(?:booked|scheduled|dispatched|arranged|reported|texted|e-?mailed|cancel?led|(?:have|'ve|was|been) sent"
    r"|i(?:'ll| will| can) (?:send|book|schedule|report|text|call|cancel|check|look|contact|connect|transfer)"
    r"|(?:truck|crew|team|someone|somebody|they) (?:will|is coming|are coming)"
    r"|you(?:'ll| will) (?:get|receive)|(?:call|contact|reach|email) (?:us|the city|them))",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:can(?:no|')t|unable to|not able to) (?:assist|help)|\bas an ai\b|\bjokes?\b", re.IGNORECASE
)
_FAREWELL = re.compile(r"\b(?:good)?-?bye\b", re.IGNORECASE)
_NOTHING_DONE = re.compile(r"\b(?:won't|will not|not|nothing)\b", re.IGNORECASE)


def is_sayable(clause: str) -> bool:
    """Whether a clause of the model's own may be spoken: no refusal, no joke, nothing done that no tool did."""
    if _REFUSAL.search(clause):
        return False
    return not _CLAIM.search(clause) or bool(_NOTHING_DONE.search(clause))


def is_farewell(clause: str) -> bool:
    """Whether the clause says goodbye."""
    return bool(_FAREWELL.search(clause))
