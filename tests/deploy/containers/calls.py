"""Calls from outside of the containers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from halfbeat.caller.conversation import converse
from halfbeat.caller.phone import Line, Phone
from halfbeat.caller.transports import dial

RATE_HZ = 8000


def hum(seconds: float = 0.8) -> Line:
    """What the scripted engines take for a line: the period of a voice, four syllables a second."""
    at = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    voice = sum(np.sin(2 * np.pi * 120 * k * at) / k for k in range(1, 20))
    syllables = 0.55 + 0.45 * np.cos(2 * np.pi * 4 * at)
    return Line("hum", np.clip(6000 * syllables * voice, -32768, 32767).astype(np.int16))


@dataclass
class Outcome:
    """How a call went."""

    ended_by: str = ""
    error: str = ""
    answers: list[float | None] = field(default_factory=list)


async def hold(
    url: str,
    lines: Sequence[Line],
    *,
    number: str = "",
    during: Callable[[], Awaitable[None]] | None = None,
    after_s: float = 1.5,
    patience_ms: int = 400,
    limit_s: float = 60.0,
    linger_s: float = 1.0,
) -> Outcome:
    """Calls the router; `during` happens so many seconds after the call began."""
    phone = Phone(RATE_HZ, patience_ms=patience_ms, give_up_ms=5000)
    async with dial("twilio", url, phone, number) as call:
        disturbing = asyncio.create_task(_later(during, after_s)) if during is not None else None
        ended_by = await converse(call, lines, limit_s=limit_s, linger_s=linger_s)
        if disturbing is not None:
            await disturbing
    return Outcome(ended_by, str(call.error or ""), [phone.v2v_ms(said) for said in phone.said])


async def _later(during: Callable[[], Awaitable[None]], after_s: float) -> None:
    await asyncio.sleep(after_s)
    await during()
