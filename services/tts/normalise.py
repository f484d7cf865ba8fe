"""From written to spoken text: "12 Oak St. at 3:30 PM" -> "twelve Oak Street at three thirty P M".

The words of numbers, ordinals and years come from num2words; this module finds what a number *is* (time, date, price,
telephone, house, code), which num2words leaves to its caller. Looked at and not taken: gruut's own verbaliser (60-110 ms
a clause, reads 555-0134 as two big numbers) and WeText (fast, but "the fifth of december", "twelve point five dollars").

Every spoken word keeps the characters it was written with, so that what was *heard* can be told in the text's own words.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from num2words import num2words


@dataclass(frozen=True)
class Spoken:
    """One written word or expression and how it is said.

    Attributes:
        char_start: first character in the text.
        char_end: one past the last, closing punctuation included.
        words: lower-case words, capitalised names and single capital letters ("P"); "," is a short pause inside.
        pause: punctuation after it, one of "", ",", ";", ":", ".", "?", "!".
    """

    char_start: int
    char_end: int
    words: tuple[str, ...]
    pause: str = ""


def normalise(text: str) -> tuple[Spoken, ...]:
    """Returns what is said, in order. Total: anything not understood is said letter by letter or left out."""
    spans: list[tuple[int, int, tuple[str, ...]]] = []
    taken = [False] * (len(text) + 1)
    for pattern, say in _RULES:
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(taken[start:end]):
                continue
            words = say(match)
            if words is None:
                continue
            spans.append((start, end, tuple(words)))
            taken[start:end] = [True] * (end - start)
    for match in _WORD.finditer(text):
        if not any(taken[match.start() : match.end()]):
            spans.append((match.start(), match.end(), tuple(_say_word(match.group(), text))))
    spans = sorted((start, start + len(text[start:end].rstrip()), words) for start, end, words in spans if words)
    spoken = []
    for i, (start, end, words) in enumerate(spans):
        until = spans[i + 1][0] if i + 1 < len(spans) else len(text)
        gap = text[end:until]
        stripped = gap.rstrip()
        pause = _pause_of(gap)
        if not pause and text[end - 1] == "." and until == len(text):  # "... at 6 p.m." ends the sentence too
            pause = "."
        spoken.append(Spoken(start, end + len(_before_space(stripped)), words, pause))
    return tuple(spoken)


def spoken_text(text: str) -> str:
    """Returns the spoken words as one string, for engines that take text and for reading."""
    parts: list[str] = []
    for item in normalise(text):
        said = " ".join(item.words).replace(" ,", ",")
        parts.append(said + item.pause)
    return " ".join(parts)


def _before_space(gap: str) -> str:
    return re.match(r"\S*", gap).group()  # type: ignore[union-attr]


def _pause_of(gap: str) -> str:
    if "..." in gap or "…" in gap:
        return ","
    for mark in "?!.;:":
        if mark in gap:
            return mark
    return "," if re.search(r"[,()—–\n]|\s-\s|--", gap) else ""


# ---- numbers ----------------------------------------------------------------------------------------------------------


def _words(said: str) -> list[str]:
    return [w for w in re.split(r"[\s,-]+", said) if w and w != "and"]


def cardinal(number: int | str) -> list[str]:
    """1342 -> one thousand three hundred forty two; "3.14" -> three point one four."""
    text = str(number).replace(",", "")
    if len(text.split(".")[0].lstrip("-")) > 15:
        return digits(text)
    return _words(num2words(text if "." in text else int(text)))


def ordinal(number: int) -> list[str]:
    """5 -> fifth."""
    return _words(num2words(number, to="ordinal"))


def year(number: int) -> list[str]:
    """2025 -> twenty twenty five; 2005 -> two thousand five; 1905 -> nineteen oh five."""
    return [w for w in re.split(r"[\s-]+", num2words(number, to="year")) if w != "and"]


def digits(text: str) -> list[str]:
    """Digit by digit, letter by letter; a dash or space is a short pause."""
    said: list[str] = []
    for char in text:
        if char.isascii() and char.isdigit():
            said.append(_DIGITS[int(char)])
        elif char.isalpha():
            said.append(char.upper())
        elif said and said[-1] != ",":
            said.append(",")
    return said[:-1] if said and said[-1] == "," else said


def house(number: str) -> list[str]:
    """A house or route number as Americans say it: 12 twelve, 305 three oh five, 1204 twelve oh four, 1500 fifteen hundred."""
    if len(number) <= 2 or number.startswith("0"):
        return digits(number) if number.startswith("0") else cardinal(number)
    if len(number) > 4:
        return digits(number)
    head, tail = number[:-2], number[-2:]
    if tail == "00":
        return [*cardinal(int(number))] if head.endswith("0") else [*cardinal(head), "hundred"]
    return [*cardinal(head), *(["oh", _DIGITS[int(tail[1])]] if tail[0] == "0" else cardinal(tail))]


def clock(hour: int, minute: int, half: str) -> list[str] | None:
    """15, 30 -> fifteen thirty; 3, 0, "pm" -> three P M; 7, 0 -> seven o'clock."""
    if hour > 24 or minute > 59:
        return None
    said = cardinal(hour)
    if minute:
        said += ["oh", _DIGITS[minute]] if minute < 10 else cardinal(minute)
    elif not half:
        said += ["hundred"] if hour > 12 else ["o'clock"]
    return said + [c.upper() for c in half if c.isalpha()]


def _date(month: int, day: int, in_year: str | None) -> list[str] | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    said = [_MONTHS[month - 1], *ordinal(day)]
    if in_year:
        value = int(in_year)
        said += [",", *year(value + 2000 if value < 100 else value)]
    return said


# ---- expressions, most specific first ---------------------------------------------------------------------------------

_DIGITS = "zero one two three four five six seven eight nine".split()
_MONTHS = ("January February March April May June July August September October November December").split()
_MONTH = "|".join(f"{m[:3]}(?:{m[3:]})?" if m != "May" else "May" for m in _MONTHS) + "|Sept"
_STREETS = {
    "St": "Street", "Ave": "Avenue", "Av": "Avenue", "Rd": "Road", "Dr": "Drive", "Blvd": "Boulevard", "Ln": "Lane",
    "Ct": "Court", "Pl": "Place", "Sq": "Square", "Pkwy": "Parkway", "Hwy": "Highway", "Ter": "Terrace",
    "Cir": "Circle", "Aly": "Alley", "Trl": "Trail", "Expy": "Expressway",
}  # fmt: skip
_COMPASS = {"N": "North", "S": "South", "E": "East", "W": "West", "NE": "Northeast", "NW": "Northwest",
            "SE": "Southeast", "SW": "Southwest"}  # fmt: skip
_FULL_STREETS = "|".join(sorted(set(_STREETS.values()), key=len, reverse=True))
_STREET_TYPE = rf"(?:{'|'.join(sorted(_STREETS, key=len, reverse=True))})\b\.?|(?:{_FULL_STREETS})\b"
_ABBREVIATIONS = {
    "Mr.": "Mister", "Mrs.": "Missus", "Ms.": "Miz", "vs.": "versus", "etc.": "et cetera", "e.g.": "for example",
    "i.e.": "that is", "approx.": "approximately", "Dept.": "Department", "dept.": "department", "Apt.": "apartment",
    "Apt": "apartment", "apt.": "apartment", "Ste.": "suite", "Bldg.": "building", "Fl.": "floor", "Jr.": "Junior",
    "Sr.": "Senior", "ext.": "extension", "Ext.": "extension", "Mt.": "Mount", "Ft.": "Fort", "hrs.": "hours",
    "min.": "minutes", "Mon.": "Monday", "Tue.": "Tuesday", "Tues.": "Tuesday", "Wed.": "Wednesday",
    "Thu.": "Thursday", "Thurs.": "Thursday", "Fri.": "Friday", "Sat.": "Saturday", "Sun.": "Sunday",
}  # fmt: skip
_UNITS = {
    "mph": "miles per hour", "mi": "miles", "ft": "feet", "lbs": "pounds", "lb": "pounds", "oz": "ounces",
    "km": "kilometers", "kg": "kilograms", "cm": "centimeters", "gal": "gallons", "hrs": "hours", "hr": "hours",
    "mins": "minutes", "min": "minutes", "secs": "seconds", "sec": "seconds", "°F": "degrees Fahrenheit", "°C": "degrees Celsius", "°": "degrees",
}  # fmt: skip
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_SYMBOLS = {"&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "#": "number"}

_Rule = Callable[[re.Match[str]], Sequence[str] | None]


def _say_price(m: re.Match[str]) -> list[str]:
    major, minor = _CURRENCIES[m["sign"]]
    whole, cents = int(m["whole"].replace(",", "")), int(m["cents"] or 0)
    if m["scale"]:
        amount = m["whole"] + (f".{m['cents']}" if m["cents"] else "")
        return [*cardinal(amount), m["scale"].lower(), major + "s"]
    said = [*cardinal(whole), major + ("" if whole == 1 else "s")] if whole or not cents else []
    if cents:
        small = {"penny": "pence"}.get(minor, minor + "s") if cents != 1 else minor
        said += [*(["and"] if said else []), *cardinal(cents), small]
    return said


def _say_range(m: re.Match[str]) -> list[str] | None:
    last = _half(m["half"])
    first = clock(int(m["h1"]), int(m["m1"] or 0), _half(m["half1"]) or ("?" if last or not m["m1"] else ""))
    second = clock(int(m["h2"]), int(m["m2"] or 0), last)
    return None if first is None or second is None else [*first, "to", *second]


def _half(text: str | None) -> str:
    return re.sub(r"[^apm]", "", (text or "").lower())


def _say_web(m: re.Match[str]) -> list[str]:
    said: list[str] = []
    for piece in re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]", m.group()):
        if piece.isdigit():
            said += digits(piece)
        elif piece.isalpha():
            said += list(piece.upper()) if piece.lower() == "www" else [piece.lower()]
        else:
            said.append({".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore"}.get(piece, ","))
    return said


def _say_code(m: re.Match[str]) -> list[str] | None:
    return digits(m["code"]) if re.search(r"\d", m["code"]) else None


_HALF = r"[AaPp]\.?\s?[Mm]\b\.?"
_RULES: list[tuple[re.Pattern[str], _Rule]] = [
    (re.compile(r"(?:https?://)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:www\.)?[\w-]+\.(?:gov|com|org|net|us|io)\b(?:/[\w-]+)*"), _say_web),
    # A number that follows a word such as "confirmation" is a name, not an amount.
    (re.compile(
        r"(?i)(?<=\b)(?:(?<=number is )|(?<=number )|(?<=number: )|(?<=code is )|(?<=code )|(?<=reference )|(?<=confirmation )"
        r"|(?<=ticket )|(?<=ID )|(?<=PIN )|(?<=ZIP )|(?<=account )|(?<=extension )|(?<=ext\. )|(?<=number #)|(?<=ticket #))"
        r"(?P<code>(?=[A-Z-]*\d)[A-Z\d]+(?:-[A-Z\d]+)*)\b"), _say_code),
    (re.compile(r"(?<![\w$])\+?\d{10,15}\b|(?<![\w$])(?:\+?1[-. ])?\(?\d{3}\)?[-. ]\s?\d{3}[-. ]\d{4}\b|(?<![\w$-])\d{3}-\d{4}\b(?!-)"),
     lambda m: digits(_grouped(m.group()))),
    (re.compile(r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b"), lambda m: _date(int(m["m"]), int(m["d"]), m["y"])),
    (re.compile(r"\b(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}|\d{2})\b"), lambda m: _date(int(m["m"]), int(m["d"]), m["y"])),
    (re.compile(rf"\b(?P<m>{_MONTH})\b\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<y>\d{{4}}))?(?!:)"),
     lambda m: _date(_month_number(m["m"]), int(m["d"]), m["y"])),
    (re.compile(rf"\b(?P<h1>\d{{1,2}})(?::(?P<m1>\d{{2}}))?\s*(?P<half1>{_HALF})?\s*[-–]\s*(?P<h2>\d{{1,2}})(?::(?P<m2>\d{{2}}))?\s*(?P<half>{_HALF})"),
     _say_range),
    (re.compile(rf"\b(?P<h1>\d{{1,2}}):(?P<m1>\d{{2}})(?P<half1>)\s*[-–]\s*(?P<h2>\d{{1,2}}):(?P<m2>\d{{2}})(?P<half>)"), _say_range),
    (re.compile(rf"\b(?P<h>\d{{1,2}}):(?P<m>\d{{2}})(?::\d{{2}})?\b\s*(?P<half>{_HALF})?"),
     lambda m: clock(int(m["h"]), int(m["m"]), _half(m["half"]))),
    (re.compile(rf"\b(?P<h>\d{{1,2}})\s*(?P<half>{_HALF})"), lambda m: clock(int(m["h"]), 0, _half(m["half"]))),
    (re.compile(r"(?P<sign>[$€£])(?P<whole>\d[\d,]*)(?:\.(?P<cents>\d{1,2}))?\b(?:\s(?P<scale>hundred|thousand|million|billion))?"), _say_price),
    # House number: the street's name and type decide. Only the number belongs to this rule.
    (re.compile(rf"\b(?P<n>\d{{1,5}})(?=\s(?:(?:{'|'.join(_COMPASS)})\b\.?\s)?(?:[A-Z]\w*\s|\d+(?:st|nd|rd|th)\s){{1,3}}(?:{_STREET_TYPE}))"),
     lambda m: house(m["n"])),
    (re.compile(rf"(?<=\d )(?P<c>{'|'.join(sorted(_COMPASS, key=len, reverse=True))})\b\.?(?=\s[A-Z\d])"), lambda m: [_COMPASS[m["c"]]]),
    (re.compile(rf"(?<=[\w] )(?<!\bon )(?<!\bthe )(?P<t>{'|'.join(sorted(_STREETS, key=len, reverse=True))})\b\.?(?!\s+[a-z]+ing\b)"),
     lambda m: _say_street(m)),
    (re.compile(r"\bSt\.\s?(?=[A-Z])"), lambda m: ["Saint"]),
    (re.compile(r"\bDr\.\s?(?=[A-Z])"), lambda m: ["Doctor"]),
    (re.compile("(?<!\\w)(?:" + "|".join(re.escape(k) for k in sorted(_ABBREVIATIONS, key=len, reverse=True)) + r")(?=\W|$)"),
     lambda m: _ABBREVIATIONS[m.group()].split()),
    (re.compile(r"\bNo\.\s?(?=\d)"), lambda m: ["number"]),
    (re.compile(r"(?<![\w$.,-])(?P<n>[2-9]11)\b(?![\d.,-]*\d)"), lambda m: digits(m["n"])),
    (re.compile(r"(?<![A-Za-z])(?P<code>(?=[A-Z]*-?\d)[A-Z]{1,6}-?\d{2,}(?:-[A-Z\d]+)*)\b"), _say_code),
    (re.compile(r"\b(?P<code>(?=[A-Z]*\d+[A-Z]+\d|[A-Z]+\d+[A-Z])[A-Z\d]{4,})\b"), _say_code),
    (re.compile(r"(?<=#)(?P<code>\d{3,}[A-Z]?|[A-Z]\d+)\b"), _say_code),
    (re.compile(r"(?<=[A-Z]{2} )(?P<code>\d{5}(?:-\d{4})?)\b"), _say_code),
    (re.compile(r"\b(?P<n>\d{1,4})(?:st|nd|rd|th)\b"), lambda m: ordinal(int(m["n"]))),
    (re.compile(r"\b(?P<n>\d{1,4})(?P<l>[A-Z])\b"), lambda m: [*house(m["n"]), m["l"]]),
    (re.compile(r"(?<![\d.,])(?P<y>(?:19|20)\d{2})\b(?![,.]\d)"), lambda m: year(int(m["y"]))),
    (re.compile(r"\b1/2\b"), lambda m: ["one", "half"]),
    (re.compile(r"\b24/7\b"), lambda m: ["twenty", "four", "seven"]),
    (re.compile(rf"(?<![\w.])(?P<n>-?\d[\d,]*(?:\.\d+)?)\s?(?P<u>{'|'.join(sorted(_UNITS, key=len, reverse=True))})(?!\w)\.?"),
     lambda m: [*_number(m["n"]), *_UNITS[m["u"]].split()]),
    (re.compile(r"(?P<a>\d+)\s?[-–]\s?(?P<b>\d+)"), lambda m: [*_number(m["a"]), "to", *_number(m["b"])]),
    (re.compile(r"(?<!\w)(?P<n>-?\d+(?:,\d{3})*(?:\.\d+)?)"), lambda m: _number(m["n"])),
    (re.compile(r"\d+"), lambda m: digits(m.group())),
    (re.compile(r"[&@+=%]|#(?=\w)"), lambda m: [_SYMBOLS[m.group()]]),
    (re.compile(r"\b(?:[A-Za-z]\.){2,}"), lambda m: [c.upper() for c in m.group() if c.isalpha()]),
]  # fmt: skip

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?")
_ACRONYMS_READ_AS_WORDS = frozenset({"OK", "NASA", "COVID", "FEMA", "ZIP", "PIN", "ADA", "HI", "NO", "YES"})


def _number(text: str) -> list[str]:
    return ["minus", *cardinal(text[1:])] if text.startswith("-") else cardinal(text)


def _month_number(name: str) -> int:
    return next(i for i, m in enumerate(_MONTHS, 1) if m.startswith(name[:3]))


def _grouped(number: str) -> str:
    """+13125550134 -> 1-312-555-0134, so that every telephone number is said in the same groups."""
    bare = re.sub(r"\D", "", number)
    groups = [bare[-4:], bare[-7:-4], bare[-10:-7], bare[:-10]]
    return "-".join(g for g in reversed(groups) if g)


def _say_street(m: re.Match[str]) -> list[str] | None:
    before = m.string[: m.start()].split()
    name = before[-1] if before else ""
    is_named = name[:1].isupper() or bool(re.fullmatch(r"\d+(?:st|nd|rd|th)", name))
    return [_STREETS[m["t"]]] if is_named and not name.endswith((".", ",", "?", "!")) else None


def _say_word(word: str, text: str) -> list[str]:
    plain = word.replace("’", "'").rstrip("'") if not word.endswith(("s'", "s’")) else word.replace("’", "'")
    if not plain or not plain[0].isascii() and not unicodedata.normalize("NFKD", plain)[0].isascii():
        return []
    is_shouted = text.isupper() and len(text.split()) > 1
    if plain.isupper() and 2 <= len(plain) <= 4 and not is_shouted and plain not in _ACRONYMS_READ_AS_WORDS:
        return list(plain)
    return [plain]
