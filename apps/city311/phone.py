"""Phone numbers as keys: one spelling, E.164, whatever an edge or a caller gives."""

from __future__ import annotations

import phonenumbers

#: What carriers send in place of a withheld number. The digits spell ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN and
#: UNAVAILABLE on a keypad: Twilio writes them so.
WITHHELD = frozenset(
    {"", "anonymous", "restricted", "blocked", "unavailable", "unknown", "private"}
    | {"+266696687", "+7378742833", "+2562533", "+8656696", "+86282452253"}
)


def e164(number: str | None, region: str = "US") -> str | None:
    """The number in E.164, such as `+15550100142`; None where it is withheld or no number.

    Numbers need only be *possible* (length), not assigned: fictional ones are used in demonstrations.

    Args:
        number: In any spelling, also `tel:` and `sip:` addresses.
        region: Two-letter region of numbers without a country code.
    """
    if number is None:
        return None
    text = number.strip()
    for scheme in ("sip:", "sips:", "tel:"):
        if text.lower().startswith(scheme):
            text = text[len(scheme) :]
    text = text.split("@")[0].split(";")[0].strip()
    if text.lower() in WITHHELD:
        return None
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
