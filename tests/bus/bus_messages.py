"""Messages as the tests send them, and waiting for what must come."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from halfbeat.v1 import asr_pb2, audio_pb2, common_pb2, session_pb2

T = TypeVar("T")


def stamp(sid: str = "s1", seq: int = 0, **numbers: int) -> common_pb2.Stamp:
    return common_pb2.Stamp(sid=sid, seq=seq, **numbers)


def transcript(seq: int = 0, sid: str = "s1", text: str = "hello") -> asr_pb2.Transcript:
    return asr_pb2.Transcript(stamp=stamp(sid, seq), stable=text)


def frame(seq: int = 0, sid: str = "s1") -> audio_pb2.AudioFrame:
    return audio_pb2.AudioFrame(stamp=stamp(sid, seq), offset_samples=seq * 320, pcm=bytes(640))


def open_request(sid: str = "s1") -> session_pb2.OpenRequest:
    return session_pb2.OpenRequest(stamp=stamp(sid))


async def take(messages: AsyncIterator[T], count: int, within_s: float = 5.0) -> list[T]:
    """Takes that many messages, or fails."""
    taken: list[T] = []
    iterator = aiter(messages)
    async with asyncio.timeout(within_s):
        while len(taken) < count:
            taken.append(await anext(iterator))
    return taken


async def eventually(condition: Callable[[], Any], within_s: float = 5.0) -> Any:
    """Waits until the condition (a function, or a coroutine function) holds; returns its value."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s} s: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(0.01)
