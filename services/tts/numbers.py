"""How numbers are said in American English. The words come from num2words; here is what it leaves to its caller."""

import re

from num2words import num2words

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_LONGEST = 15  # digits; a longer number is an identifier, not an amount


def cardinal(number: int | str) -> list[str]:
    """1342 -> one thousand three hundred forty two; "3.14" -> three point one four; "-5" -> minus five."""
    text = str(number).replace(",", "")
    if len(text.split(".")[0].lstrip("-")) > _LONGEST:
        return digits(text)
    return _words(num2words(text if "." in text else int(text)))


def ordinal(number: int) -> list[str]:
    """5 -> fifth."""
    return _words(num2words(number, to="ordinal"))


def year(number: int) -> list[str]:
    """2025 -> twenty twenty five; 2005 -> two thousand five; 1905 -> nineteen oh five."""
    return _words(num2words(number, to="year"))


def digits(text: str) -> list[str]:
    """Digit by digit, letter by letter; whatever else stands between them is a short pause (",")."""
    said: list[str] = []
    for char in text:
        if char.isascii() and char.isdigit():
            said.append(DIGITS[int(char)])
        elif char.isascii() and char.isalpha():
            said.append(char.upper())
        elif said and said[-1] != ",":
            said.append(",")
    return said[:-1] if said and said[-1] == "," else said


def house(number: str) -> list[str]:
    """A house or route number: 12 twelve, 305 three oh five, 1204 twelve oh four, 1500 fifteen hundred."""
    if number.startswith("0") or len(number) > 4:
        return digits(number)
    if len(number) <= 2:
        return cardinal(number)
    head, tail = number[:-2], number[-2:]
    if tail == "00":
        return cardinal(number) if head.endswith("0") else [*cardinal(head), "hundred"]
    return [*cardinal(head), *_two_digits(int(tail))]


def clock(hour: int, minute: int, half: str = "") -> list[str] | None:
    """15, 30 -> fifteen thirty; 3, 0, "pm" -> three P M; 7, 0 -> seven o'clock; None for what is no time."""
    if hour > 24 or minute > 59:
        return None
    said = cardinal(hour)
    if minute:
        said += _two_digits(minute)
    elif not half:
        said.append("hundred" if hour > 12 else "o'clock")
    return said + [c.upper() for c in half]


def date(month: int, day: int, in_year: str | None = None) -> list[str] | None:
    """12, 5, "2025" -> December fifth, twenty twenty five; None for what is no date."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = [MONTHS[month - 1], *ordinal(day)]
    if in_year:
        value = int(in_year)
        said += [",", *year(value + 2000 if value < 100 else value)]
    return said


def telephone(text: str) -> list[str]:
    """+13125550134 -> one, three one two, five five five, zero one three four: always in the same groups."""
    bare = re.sub(r"\D", "", text)
    groups = [bare[:-10], bare[-10:-7], bare[-7:-4], bare[-4:]]
    return digits("-".join(g for g in groups if g))


def money(whole: str, cents: str, major: str, minor: str) -> list[str]:
    """From "12", "50", "dollar", "cent" to twelve dollars and fifty cents."""
    units, parts = int(whole.replace(",", "")), int(cents.ljust(2, "0") if cents else 0)
    said = [*cardinal(units), major + ("" if units == 1 else "s")] if units or not parts else []
    if parts:
        plural = "pence" if minor == "penny" else minor + "s"
        said += [*(["and"] if said else []), *cardinal(parts), minor if parts == 1 else plural]
    return said


def _two_digits(number: int) -> list[str]:
    return ["oh", DIGITS[number]] if number < 10 else cardinal(number)


def _words(said: str) -> list[str]:
    return [w for w in re.split(r"[\s,-]+", said) if w and w != "and"]
