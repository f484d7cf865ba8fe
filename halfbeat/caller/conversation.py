"""Holds a conversation as a caller would: hears the greeting, says a line when the agent has finished, hangs up."""

import asyncio
import time
import wave
from collections.abc import Callable, Sequence
from pathlib import Path

from halfbeat.caller.phone import FRAME_MS, Line, Phone
from halfbeat.caller.transports import Transport


async def converse(
    call: Transport,
    lines: Sequence[Line],
    *,
    on_line: Callable[[Line], None] = lambda _: None,
    limit_s: float = 180.0,
    linger_s: float = 15.0,
) -> str:
    """Speaks the lines in turn, in real time.

    Args:
        call: an open call.
        lines: what to say.
        on_line: told when a line begins.
        limit_s: longest call.
        linger_s: after the last line, how long to wait for the agent to hang up.

    Returns:
        Who ended it: "agent", "caller", "limit", or "router" when that refused the call or could not hold it.
    """
    phone = call.phone
    began = time.monotonic()
    waiting = list(lines)
    finished_at: float | None = None
    ticks = 0
    while True:
        now = time.monotonic() - began
        if call.ended.is_set() and not phone.is_audio_waiting:
            return "agent" if call.error is None else "router"
        if now > limit_s:
            return "limit"
        if not waiting and finished_at is None and not phone.is_speaking:
            finished_at = now
        if finished_at is not None and now - finished_at > linger_s and phone.is_my_turn:
            return "caller"
        if waiting and phone.is_my_turn:
            line = waiting.pop(0)
            on_line(line)
            phone.speak(line)
        await call.send(phone.tick())
        ticks += 1
        await asyncio.sleep(max(0.0, began + ticks * FRAME_MS / 1000 - time.monotonic()))


def write_stereo(phone: Phone, path: Path) -> None:
    """Writes the recording as a WAV file, caller left, agent right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(phone.sample_rate_hz)
        file.writeframes(phone.stereo().astype("<i2").tobytes())
