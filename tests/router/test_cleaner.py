"""A call's way through the echo canceller: what was played meets what was heard, whenever either came."""

import asyncio

import numpy as np
import pytest

from halfbeat.audio import RATE_HZ, Floats
from halfbeat.audio.echo import DELAY, Cleaned, EchoCanceller
from halfbeat.audio.linear import HOP
from halfbeat.clock import NS_PER_MS, NS_PER_S
from halfbeat.errors import AtCapacity
from services.router.cleaner import Cleaner, Line
from services.router.reference import Reference, position_of


class Listening(EchoCanceller):
    """Keeps what it is told was played, and to how many calls at once."""

    def __init__(self, rows: int, *, suppresses: bool) -> None:
        super().__init__(rows, suppresses=suppresses)
        self.played: list[Floats] = []
        self.rows: list[list[int]] = []

    def step(self, rows: np.ndarray, heard: Floats, played: Floats) -> Cleaned:
        self.played.append(played[0])
        self.rows.append(rows.tolist())
        return super().step(rows, heard, played)


START_NS = 7_000_000_000_000


def pcm(samples: Floats) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def noise(ms: int, seed: int = 1) -> Floats:
    made: Floats = (0.2 * np.random.default_rng(seed).standard_normal(RATE_HZ * ms // 1000)).astype(np.float32)
    return made


def test_what_was_played_lies_where_it_sounded() -> None:
    played, sound = Reference(16_000), noise(60)
    for i in range(3):
        played.write(pcm(sound[i * 320 : i * 320 + 320]), position_of(START_NS + i * 20 * NS_PER_MS))
    begin = position_of(START_NS)
    np.testing.assert_allclose(played.read(begin, 960), sound, atol=1e-4)
    assert not played.read(begin - 500, 500).any()
    assert not played.read(begin + 960, 500).any()


def test_a_pause_of_the_agent_is_silence_and_a_rounded_moment_no_seam() -> None:
    played, sound = Reference(16_000), noise(40)
    played.write(pcm(sound[:320]), position_of(START_NS))
    played.write(pcm(sound[320:]), position_of(START_NS + 20 * NS_PER_MS + 3000))
    played.write(pcm(sound[:320]), position_of(START_NS + 500 * NS_PER_MS))
    begin = position_of(START_NS)
    np.testing.assert_allclose(played.read(begin, 640), sound, atol=1e-4)
    assert not played.read(begin + 640, 8000 - 640).any()
    np.testing.assert_allclose(played.read(begin + 8000, 320), sound[:320], atol=1e-4)


def test_what_is_long_gone_reads_as_silence() -> None:
    played = Reference(16_000)
    played.write(pcm(noise(20)), position_of(START_NS))
    played.write(pcm(noise(20)), position_of(START_NS + 60 * NS_PER_S))
    assert not played.read(position_of(START_NS), 320).any()
    assert played.read(position_of(START_NS + 60 * NS_PER_S), 320).any()


def test_other_rates_are_brought_to_16_khz() -> None:
    played = Reference(8000)
    tone = np.sin(2 * np.pi * 440 * np.arange(1600) / 8000).astype(np.float32) * 0.3
    for i in range(10):
        played.write(pcm(tone[i * 160 : i * 160 + 160]), position_of(START_NS + i * 20 * NS_PER_MS))
    heard = played.read(position_of(START_NS) + 800, 1600)
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(1600)))
    assert int(spectrum.argmax()) * 10 == 440


async def through(line: Line, sound: Floats, *, start_ns: int = START_NS, piece: int = 320) -> bytes:
    out = b""
    for at in range(0, sound.size, piece):
        end = min(at + piece, sound.size)
        out += (await line.clean(pcm(sound[at:end]), start_ns + end * NS_PER_S // RATE_HZ))[0]
    return out


@pytest.mark.parametrize("piece", [80, 320, 333, 1600])
async def test_audio_of_any_pieces_comes_out_whole_and_ten_milliseconds_late(piece: int) -> None:
    cleaner = Cleaner(EchoCanceller(1, suppresses=False))
    line = cleaner.line(16_000)
    sound = noise(400)
    out = np.frombuffer(await through(line, sound, piece=piece), "<i2")
    assert out.size == sound.size // HOP * HOP - DELAY
    np.testing.assert_allclose(out / 32768, sound[: out.size], atol=1e-4)
    assert line.delay_ns == (sound.size - out.size) * NS_PER_S // RATE_HZ
    cleaner.close()


async def test_the_agents_echo_goes_and_a_call_that_hears_no_agent_keeps_it() -> None:
    cleaner = Cleaner(EchoCanceller(2, suppresses=False))
    played = noise(4000) * 0.5
    echo = np.concatenate((np.zeros(2400, np.float32), 0.5 * played))[: played.size]
    left = {}
    for hears_agent in (True, False):
        line = cleaner.line(16_000, hears_agent=hears_agent)
        out = b""
        for at in range(0, played.size, 320):
            now_ns = START_NS + at * NS_PER_S // RATE_HZ
            line.sent(pcm(played[at : at + 320]), at, now_ns)
            out += (await line.clean(pcm(echo[at : at + 320]), now_ns + 20 * NS_PER_MS))[0]
        left[hears_agent] = np.frombuffer(out, "<i2")[-RATE_HZ:].astype(float).std()
        assert line.is_clear is (True if hears_agent else None)
        line.close()
    assert left[True] < 0.1 * left[False]
    cleaner.close()


async def test_audio_lost_on_the_way_does_not_move_the_echo() -> None:
    canceller = Listening(1, suppresses=False)
    cleaner = Cleaner(canceller)
    line = cleaner.line(16_000)
    gap_ns = 300 * NS_PER_MS
    for i in range(250):
        now_ns = START_NS + i * 20 * NS_PER_MS
        line.sent(pcm(np.full(320, i / 1000, np.float32)), i * 320, now_ns)
    await through(line, noise(1000))
    await through(line, noise(2000), start_ns=START_NS + NS_PER_S + gap_ns)
    # The last hop that was heard: 3.3 s after the first one began to sound.
    assert canceller.played[-1][-1] == pytest.approx(164 / 1000, abs=2e-3)
    cleaner.close()


async def test_audio_held_up_and_caught_up_with_does_not_move_the_echo() -> None:
    canceller = Listening(1, suppresses=False)
    cleaner = Cleaner(canceller)
    line = cleaner.line(16_000)
    for i in range(250):
        line.sent(pcm(np.full(320, i / 1000, np.float32)), i * 320, START_NS + i * 20 * NS_PER_MS)
    await through(line, noise(1000))
    held_ns = 300 * NS_PER_MS  # for two seconds everything comes late, then all is as before
    await through(line, noise(2000), start_ns=START_NS + NS_PER_S + held_ns)
    await through(line, noise(1000), start_ns=START_NS + 3 * NS_PER_S)
    assert canceller.played[-1][-1] == pytest.approx(199 / 1000, abs=2e-3)
    cleaner.close()


async def test_calls_that_wait_are_cleaned_together_and_each_gets_its_own() -> None:
    canceller = Listening(8, suppresses=False)
    cleaner = Cleaner(canceller)
    lines = [cleaner.line(16_000) for _ in range(8)]
    sounds = [noise(200, seed) for seed in range(8)]
    outs = await asyncio.gather(*(through(line, sound) for line, sound in zip(lines, sounds, strict=True)))
    for out, sound in zip(outs, sounds, strict=True):
        np.testing.assert_allclose(np.frombuffer(out, "<i2") / 32768, sound[: len(out) // 2], atol=1e-4)
    assert max(map(len, canceller.rows)) > 1
    with pytest.raises(AtCapacity):
        cleaner.line(16_000)
    lines[0].close()
    await asyncio.sleep(0.05)
    cleaner.line(16_000)
    cleaner.close()


async def test_a_call_that_ends_while_it_waits_harms_nobody() -> None:
    cleaner = Cleaner(EchoCanceller(2, suppresses=False))
    first, second = cleaner.line(16_000), cleaner.line(16_000)
    leaving = asyncio.create_task(through(first, noise(400)))
    staying = asyncio.create_task(through(second, noise(400)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert len(await staying) == 2 * (6400 - DELAY)
    cleaner.close()


async def test_a_row_is_given_back_behind_the_work_that_waits_for_it() -> None:
    class Ordered(Listening):
        def close(self, row: int) -> None:
            self.rows.append([-1 - row])
            super().close(row)

    canceller = Ordered(2, suppresses=False)
    cleaner = Cleaner(canceller)
    busy, ending = cleaner.line(16_000), cleaner.line(16_000)
    works = [through(busy, noise(2000), piece=32_000), through(ending, noise(40), piece=640)]
    running = asyncio.gather(*works)
    await asyncio.sleep(0)
    ending.close()  # its audio still waits behind that of the other call
    await running
    (closed,) = [i for i, rows in enumerate(canceller.rows) if rows[0] < 0]
    row = -1 - canceller.rows[closed][0]
    assert [rows for rows in canceller.rows[:closed] if row in rows]
    assert not [rows for rows in canceller.rows[closed:] if row in rows]
    cleaner.close()


async def test_a_canceller_that_breaks_says_so_to_the_calls() -> None:
    class Broken(EchoCanceller):
        def step(self, rows: np.ndarray, heard: Floats, played: Floats) -> Cleaned:
            raise RuntimeError("broken")

    cleaner = Cleaner(Broken(1, suppresses=False))
    with pytest.raises(RuntimeError, match="broken"):
        await through(cleaner.line(16_000), noise(40))
    cleaner.close()


async def test_what_the_callers_end_reports_places_the_agents_voice_to_the_sample() -> None:
    canceller = Listening(1, suppresses=False)
    cleaner = Cleaner(canceller)
    line = cleaner.line(8000)
    # By our clock the agent begins at 0.2 s; the caller's end plays 33 ms later, and says so every 20 ms.
    begin, late = 8000 // 5, 8000 * 33 // 1000
    sent = 0
    for tick in range(100):
        now_ns = START_NS + tick * 20 * NS_PER_MS
        while sent * 160 < tick * 160 - begin + 480 and sent < 80:  # 60 ms ahead
            line.sent(
                np.full(160, 100 * (sent + 1), "<i2").tobytes(),
                sent * 160,
                START_NS + 200 * NS_PER_MS + sent * 20 * NS_PER_MS,
            )
            sent += 1
        await line.clean(bytes(640), now_ns + 20 * NS_PER_MS)
        received = (tick + 1) * 160
        if received - begin - late > 0:
            line.acknowledged(min(received - begin - late, sent * 160), received)
    reference = np.concatenate(canceller.played) * 32768
    # The hundredth frame's tenth level is heard where it was played: 0.2 s + 33 ms + 20 frames.
    at = 2 * (begin + late + 20 * 160)
    assert abs(reference[at + 160] - 2100) < 60
    assert abs(reference[at - 160] - 2000) < 60
    cleaner.close()
