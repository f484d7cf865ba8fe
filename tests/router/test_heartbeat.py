"""Which worker is lost."""

from halfbeat.clock import NS_PER_MS
from services.router.heartbeat import Heartbeats


def check(beats: Heartbeats, from_ms: int, to_ms: int) -> list[str | None]:
    return [beats.lost(ms * NS_PER_MS) for ms in range(from_ms, to_ms, 100)]


def test_a_service_that_is_silent_for_too_long_is_named() -> None:
    beats = Heartbeats(("asr", "tts"), 3.0, 0)
    assert set(check(beats, 0, 2000)) == {None}
    beats.heard("asr", 2000 * NS_PER_MS)
    assert set(check(beats, 2000, 3000)) == {None}
    assert check(beats, 3000, 3300)[-1] == "tts"


def test_a_stall_of_our_own_is_nobodys_silence() -> None:
    beats = Heartbeats(("asr",), 3.0, 0)
    check(beats, 0, 1000)
    assert set(check(beats, 8000, 10_900)) == {None}
    assert check(beats, 10_900, 11_300)[-1] == "asr"


def test_strangers_are_ignored() -> None:
    beats = Heartbeats(("asr",), 3.0, 0)
    beats.heard("echo", 0)
    assert set(check(beats, 0, 2900)) == {None}
