"""What written expressions are (a time, a price, a house number, a code), and how each is said.

One function a kind, the most specific first: what an earlier one has taken, a later one does not see. A function
returns None where the match is not its kind after all. Patterns are verbose: blanks do not count, `[ ]` is one.
"""

import re
from collections.abc import Callable, Sequence

from services.tts.numbers import MONTHS, cardinal, clock, date, digits, house, money, ordinal, telephone, year

Say = Callable[[re.Match[str]], Sequence[str] | None]
RULES: list[tuple[re.Pattern[str], Say]] = []

_STREETS = {
    "St": "Street", "Ave": "Avenue", "Av": "Avenue", "Rd": "Road", "Dr": "Drive", "Blvd": "Boulevard", "Ln": "Lane",
    "Ct": "Court", "Pl": "Place", "Sq": "Square", "Pkwy": "Parkway", "Hwy": "Highway", "Ter": "Terrace",
    "Cir": "Circle", "Aly": "Alley", "Trl": "Trail", "Expy": "Expressway",
}  # fmt: skip
_COMPASS = {
    "N": "North", "S": "South", "E": "East", "W": "West", "NE": "Northeast", "NW": "Northwest", "SE": "Southeast",
    "SW": "Southwest",
}  # fmt: skip
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
    "mins": "minutes", "min": "minutes", "secs": "seconds", "sec": "seconds", "°F": "degrees Fahrenheit",
    "°C": "degrees Celsius", "°": "degrees",
}  # fmt: skip
_CURRENCIES = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny")}
_SYMBOLS = {"&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "#": "number"}
_IN_WEB = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore"}


def _any(words: Sequence[str] | dict[str, str]) -> str:
    """An alternation of literals, longest first, so that "Ave" is not taken for "Av"."""
    return "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))


_MONTH = _any([*MONTHS, *(m[:3] for m in MONTHS), "Sept"])
_HALF = r"[AaPp]\.?[ ]?[Mm]\b\.?"
_STREET_TYPE = rf"(?: (?:{_any(_STREETS)})\b\.? | (?:{_any(sorted(set(_STREETS.values())))})\b )"


def _rule(*patterns: str) -> Callable[[Say], Say]:
    def register(say: Say) -> Say:
        RULES.extend((re.compile(pattern, re.VERBOSE), say) for pattern in patterns)
        return say

    return register


@_rule(r"""[\w.+-]+@[\w-]+(?:\.[\w-]+)+ | (?:https?://)? (?:www\.)? [\w-]+ (?:\.[\w-]+)*
           \.(?:gov|com|org|net|us|io)\b (?:/[\w-]+)*""")
def _web(m: re.Match[str]) -> list[str]:
    said: list[str] = []
    for piece in re.findall(r"[A-Za-z]+|\d+|[^\sA-Za-z\d]", re.sub(r"^https?://", "", m[0])):
        if piece.isdigit():
            said += digits(piece)
        elif piece.isalpha():
            said += list(piece.upper()) if piece.lower() == "www" else [piece.lower()]
        else:
            said.append(_IN_WEB.get(piece, ","))
    return said


@_rule(r"""(?i: (?<=number[ ]is[ ]) | (?<=number[ ]) | (?<=number:[ ]) | (?<=code[ ]is[ ]) | (?<=code[ ])
              | (?<=reference[ ]) | (?<=confirmation[ ]) | (?<=ticket[ ]) | (?<=[ ]ID[ ]) | (?<=PIN[ ]) | (?<=ZIP[ ])
              | (?<=account[ ]) | (?<=extension[ ]) | (?<=ext\.[ ]) | (?<=number[ ]\#) | (?<=ticket[ ]\#) )
           (?P<code> (?=[A-Z-]*\d) [A-Z\d]+ (?:-[A-Z\d]+)* )\b""")
def _named_code(m: re.Match[str]) -> list[str]:
    """A number after such a word is a name, not an amount."""
    return digits(m["code"])


@_rule(r"""(?<![\w$]) (?: \+?\d{10,15} | (?:\+?1[-. ])? \(?\d{3}\)? [-. ] [ ]? \d{3} [-. ] \d{4} )\b
           | (?<![\w$-]) \d{3}-\d{4}\b (?!-)""")
def _telephone(m: re.Match[str]) -> list[str]:
    return telephone(m[0])


@_rule(
    r"\b(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})\b",
    r"\b(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}|\d{2})\b",
)
def _numeric_date(m: re.Match[str]) -> list[str] | None:
    return date(int(m["m"]), int(m["d"]), m["y"])


@_rule(rf"\b(?P<m>{_MONTH})\b\.?[ ]+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?[ ]+(?P<y>\d{{4}})\b)?(?!:)")
def _named_date(m: re.Match[str]) -> list[str] | None:
    month = next(i for i, name in enumerate(MONTHS, 1) if name.startswith(m["m"][:3]))
    return date(month, int(m["d"]), m["y"])


@_rule(
    rf"""\b(?P<h1>\d{{1,2}}) (?::(?P<m1>\d{{2}}))? [ ]? (?P<a>{_HALF})? [ ]?[-–][ ]?
            (?P<h2>\d{{1,2}}) (?::(?P<m2>\d{{2}}))? [ ]? (?P<b>{_HALF})""",
    r"\b(?P<h1>\d{1,2}):(?P<m1>\d{2})(?P<a>)[ ]?[-–][ ]?(?P<h2>\d{1,2}):(?P<m2>\d{2})(?P<b>)",
)
def _time_range(m: re.Match[str]) -> list[str] | None:
    first = clock(int(m["h1"]), int(m["m1"] or 0), _half(m["a"]))
    last = clock(int(m["h2"]), int(m["m2"] or 0), _half(m["b"]))
    if first is None or last is None:
        return None
    if m["b"] and first[-1] == "o'clock":  # 7:00-9:30 a.m. is "seven to nine thirty A M"
        first = first[:-1]
    return [*first, "to", *last]


@_rule(
    rf"\b(?P<h>\d{{1,2}}):(?P<m>\d{{2}})(?::\d{{2}})?\b (?:[ ]?(?P<half>{_HALF}))?",
    rf"\b(?P<h>\d{{1,2}})(?P<m>)[ ]?(?P<half>{_HALF})",
)
def _time(m: re.Match[str]) -> list[str] | None:
    return clock(int(m["h"]), int(m["m"] or 0), _half(m["half"]))


@_rule(r"""(?P<sign>[$€£]) (?P<whole>\d[\d,]*) (?:\.(?P<cents>\d{1,2}))?\b
           (?:[ ](?P<scale>hundred|thousand|million|billion))?""")
def _price(m: re.Match[str]) -> list[str]:
    major, minor = _CURRENCIES[m["sign"]]
    if m["scale"]:
        return [*cardinal(m["whole"] + (f".{m['cents']}" if m["cents"] else "")), m["scale"], major + "s"]
    return money(m["whole"], m["cents"] or "", major, minor)


@_rule(rf"""\b(?P<n>\d{{1,5}}) (?=[ ] (?:(?:{_any(_COMPASS)})\b\.?[ ])?
            (?:[A-Z]\w*[ ] | \d+(?:st|nd|rd|th)[ ]){{1,3}} {_STREET_TYPE})""")
def _house_number(m: re.Match[str]) -> list[str]:
    """The street's name and type, which follow, make it one; they are not taken."""
    return house(m["n"])


@_rule(rf"(?<=\d[ ])(?P<c>{_any(_COMPASS)})\b\.?(?=[ ][A-Z\d])")
def _compass(m: re.Match[str]) -> list[str]:
    return [_COMPASS[m["c"]]]


@_rule(rf"(?<=\w[ ])(?P<t>{_any(_STREETS)})\b\.?")
def _street_type(m: re.Match[str]) -> list[str] | None:
    """Only after a name: "Oak St." and "42nd St", not "at St. Louis"."""
    name = m.string[: m.start()].split()[-1]
    is_name = name[0].isupper() or re.fullmatch(r"\d+(?:st|nd|rd|th)", name)
    return [_STREETS[m["t"]]] if is_name and name[-1].isalnum() else None


@_rule(r"\b(?P<t>St|Dr|No)\.(?=[ ]?[A-Z\d])")
def _title(m: re.Match[str]) -> list[str]:
    return [{"St": "Saint", "Dr": "Doctor", "No": "number"}[m["t"]]]


@_rule(rf"(?<!\w)(?:{_any(_ABBREVIATIONS)})(?=\W|$)")
def _abbreviation(m: re.Match[str]) -> list[str]:
    return _ABBREVIATIONS[m[0]].split()


@_rule(
    r"(?<![\w$.,-])(?P<code>[2-9]11)\b(?![\d.,-]*\d)",  # 311, 911: service numbers
    r"(?<![A-Za-z])(?P<code>(?=[A-Z]*-?\d)[A-Z]{1,6}-?\d{2,}(?:-[A-Z\d]+)*)\b",  # SR-20251
    r"\b(?P<code>(?=[A-Z]*\d+[A-Z]+\d|[A-Z]+\d+[A-Z])[A-Z\d]{4,})\b",  # A1B2C3
    r"(?<=\#)(?P<code>\d{3,}[A-Z]?|[A-Z]\d+)\b",
    r"(?<=[A-Z]{2}[ ])(?P<code>\d{5}(?:-\d{4})?)\b",  # a ZIP code after its state
    r"(?<!\w)(?P<code>0\d+)\b(?!\.)",
)
def _code(m: re.Match[str]) -> list[str]:
    return digits(m["code"])


@_rule(r"\b(?P<n>\d{1,4})(?:st|nd|rd|th)\b")
def _ordinal(m: re.Match[str]) -> list[str]:
    return ordinal(int(m["n"]))


@_rule(r"\b(?P<n>\d{1,4})(?P<letter>[A-Z])\b")
def _flat(m: re.Match[str]) -> list[str]:
    return [*house(m["n"]), m["letter"]]


@_rule(r"(?<![\d.,$-])(?P<y>(?:19|20)\d{2})\b(?![,.]\d)")
def _year(m: re.Match[str]) -> list[str]:
    return year(int(m["y"]))


@_rule(r"\b(?:1/2|24/7)\b")
def _set_phrase(m: re.Match[str]) -> list[str]:
    return ["one", "half"] if m[0] == "1/2" else ["twenty", "four", "seven"]


@_rule(rf"(?<![\w.])(?P<n>-?\d[\d,]*(?:\.\d+)?)[ ]?(?P<u>{_any(_UNITS)})(?!\w)\.?")
def _measure(m: re.Match[str]) -> list[str]:
    return [*cardinal(m["n"]), *_UNITS[m["u"]].split()]


@_rule(r"(?P<a>\d+)[ ]?[-–][ ]?(?P<b>\d+)")
def _range(m: re.Match[str]) -> list[str]:
    return [*cardinal(m["a"]), "to", *cardinal(m["b"])]


@_rule(
    r"(?<!\w)-?\d+(?:,\d{3})*(?:\.\d+)?",
    r"[0-9]+",
)
def _number(m: re.Match[str]) -> list[str]:
    return cardinal(m[0])


@_rule(r"[&@+=%]|\#(?=\w)")
def _symbol(m: re.Match[str]) -> list[str]:
    return [_SYMBOLS[m[0]]]


@_rule(r"\b(?:[A-Za-z]\.){2,}")
def _dotted_initials(m: re.Match[str]) -> list[str]:
    return [c.upper() for c in m[0] if c.isalpha()]


def _half(text: str | None) -> str:
    """From "p.m." to "pm"."""
    return re.sub(r"[^apm]", "", (text or "").lower())
