"""The city's calendar: what today is, which day a caller means, how a day and a window are spoken."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_MONTH_DAY = re.compile(
    r"\b(" + "|".join(name[:3] for name in MONTHS) + r")[a-z]*\.? (?:the )?(\d{1,2})(?:st|nd|rd|th)?\b"
)


def utc_now() -> datetime:
    """The present time in UTC: the clock that is used where none is injected."""
    return datetime.now(UTC)


def city_day(now: datetime, zone: ZoneInfo) -> date:
    """The day on the city's calendar.

    Args:
        now: An instant with a time zone.
        zone: The city's time zone.

    Raises:
        ValueError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now must have a time zone")
    return now.astimezone(zone).date()


def next_midnight(now: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the city's next day begins, in UTC."""
    tomorrow = city_day(now, zone) + timedelta(days=1)
    return datetime.combine(tomorrow, time(0), zone).astimezone(UTC)


def day_from_words(words: str, today: date) -> date | None:
    """The day that words like "tomorrow", "next Friday", "November 24th" or "2030-01-31" mean.

    A weekday means the next such day after today ("this Friday" on a Friday is a week ahead), a month and a day the
    next such date from today on. None where the words name no day.
    """
    text = " ".join(re.sub(r"[^a-z0-9.\- ]", " ", words.lower()).split())
    iso = re.search(r"\b(\d{4})-(\d{2})-(\d{2})\b", text)
    if iso:
        return _date_or_none(*(int(part) for part in iso.groups()))
    if "day after tomorrow" in text:
        return today + timedelta(days=2)
    if "tomorrow" in text:
        return today + timedelta(days=1)
    if "today" in text:
        return today
    month_day = _MONTH_DAY.search(text)
    if month_day:
        month = next(i for i, name in enumerate(MONTHS, 1) if name.startswith(month_day.group(1)))
        for year in (today.year, today.year + 1):
            day = _date_or_none(year, month, int(month_day.group(2)))
            if day is not None and day >= today:
                return day
        return None
    for number, name in enumerate(WEEKDAYS):
        if name in text:
            return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
    return None


def spoken_day(day: date, today: date) -> str:
    """A day as a person says it: "tomorrow, Sunday, November 23", or without the word where it is further off."""
    name = f"{WEEKDAYS[day.weekday()].capitalize()}, {MONTHS[day.month - 1].capitalize()} {day.day}"
    near = {0: "today", 1: "tomorrow", -1: "yesterday"}.get((day - today).days)
    return f"{near}, {name}" if near else name


def spoken_time(at: time) -> str:
    """A time of day as a person says it: "8 AM", "noon", "3:30 PM"."""
    if (at.hour, at.minute) in ((12, 0), (0, 0)):
        return "noon" if at.hour else "midnight"
    hour = at.hour % 12 or 12
    half = "AM" if at.hour < 12 else "PM"
    return f"{hour} {half}" if at.minute == 0 else f"{hour}:{at.minute:02} {half}"


def spoken_window(start: time, end: time) -> str:
    """A window of time as a person says it: "between 8 AM and noon"."""
    return f"between {spoken_time(start)} and {spoken_time(end)}"


def _date_or_none(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
