"""The caller's audio on its way in."""

import numpy as np
import pytest
from scene import LevelDetector, silence, tone

from halfbeat.clock import NS_PER_MS, NS_PER_S
from halfbeat.errors import InvalidRequest, TooFast
from services.router.ear import Ear, Intake, Ring
from services.router.endpoint import VoiceActivity, VoiceSettings
from services.router.vad import QUIET_WINDOWS, SileroDetector


def listen(rate_hz: int, pcm: bytes, chunk_bytes: int) -> tuple[Ear, list, list]:
    ear = Ear(rate_hz, LevelDetector(), VoiceActivity(VoiceSettings()))
    frames, voices = [], []
    for at in range(0, len(pcm), chunk_bytes):
        end = min(at + chunk_bytes, len(pcm))
        heard = ear.hear(ear.convert(pcm[at:end]), end // 2 * NS_PER_S // rate_hz)
        frames += heard[0]
        voices += heard[1]
    return ear, frames, voices


@pytest.mark.parametrize("chunk_bytes", [2, 34, 320, 962, 40_000])
def test_frames_are_gapless_whatever_the_chunks(chunk_bytes: int) -> None:
    pcm = tone(300, 8000) + silence(300, 8000)
    _, frames, _ = listen(8000, pcm, chunk_bytes)
    assert [f.offset_samples for f in frames] == list(range(0, 320 * len(frames), 320))
    assert {len(f.pcm) for f in frames} == {640}
    assert len(frames) >= 29


def test_a_long_silence_is_sent_in_longer_frames_and_speech_in_short_ones() -> None:
    ear, frames, _ = listen(16000, silence(3000) + tone(500) + silence(1500), 640)
    frames += ear.release()
    assert b"".join(f.pcm for f in frames) == silence(3000) + tone(500) + silence(1500), "nothing is lost"
    ends = np.cumsum([len(f.pcm) // 2 for f in frames])
    assert [f.offset_samples for f in frames] == [0, *ends[:-1]]
    lengths_ms = {f.offset_samples // 16: len(f.pcm) // 32 for f in frames}
    assert {ms for at, ms in lengths_ms.items() if 1100 < at < 2900} == {100}
    assert {ms for at, ms in lengths_ms.items() if 3080 <= at < 4400} == {20}


def test_held_silence_is_out_when_speech_is_known() -> None:
    ear = Ear(16000, LevelDetector(), VoiceActivity(VoiceSettings()))
    pcm, sent = silence(2020) + tone(400), 0
    for at in range(0, len(pcm), 640):
        frames, voices = ear.hear(ear.convert(pcm[at : at + 640]), at)
        sent += sum(len(f.pcm) for f in frames)
        if any(v.is_active for v in voices):
            assert sent == at + 640
            return
    raise AssertionError("no speech was found")


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
def test_the_last_voiced_sample_is_found_to_a_few_ms(rate_hz: int) -> None:
    pcm = silence(403, rate_hz) + tone(777, rate_hz) + silence(500, rate_hz)
    ear, _, voices = listen(rate_hz, pcm, rate_hz // 50 * 2)
    last = [v for v in voices if v.is_active][-1]
    assert last.start_samples / 16 == pytest.approx(403, abs=6)
    assert last.last_voiced_samples / 16 == pytest.approx(403 + 777, abs=8)
    assert ear.time_of(last.last_voiced_samples) / NS_PER_MS == pytest.approx(403 + 777, abs=8)


def test_frames_are_marked_as_speech_by_the_window_so_that_asr_sees_a_pause_early() -> None:
    _, frames, _ = listen(16000, silence(320) + tone(640) + silence(320), 640)
    marked = [f.offset_samples // 16 for f in frames if f.is_speech]
    assert 320 <= marked[0] <= 420
    assert 940 <= marked[-1] <= 1000


def test_a_fading_end_is_voice_and_what_follows_is_not() -> None:
    activity = VoiceActivity(VoiceSettings())
    loud, soft, hiss = (np.full(512, level, dtype=np.int16) for level in (8000, 800, 20))
    for n, window in enumerate([loud, loud, loud, soft, soft, hiss, hiss]):
        voice = activity.push(0.9, window, (n + 1) * 512)
    assert voice.last_voiced_samples == 5 * 512, "the model is still sure, the level is not"
    assert voice.is_active


def test_unsure_windows_continue_speech_but_do_not_begin_it() -> None:
    activity = VoiceActivity(VoiceSettings())
    window = np.full(512, 5000, dtype=np.int16)
    assert not any(activity.push(0.4, window, n * 512).is_active for n in range(1, 10))
    for n in range(10, 13):
        voice = activity.push(0.8, window, n * 512)
    assert voice.is_active
    for n in range(13, 30):
        voice = activity.push(0.4, window, n * 512)
    assert voice.is_active
    assert voice.silence_ms == 0


def test_gaps_within_words_do_not_end_speech() -> None:
    pcm = (tone(200) + silence(80)) * 5 + silence(400)
    _, _, voices = listen(16000, pcm, 640)
    changes = np.count_nonzero(np.diff([v.is_active for v in voices]))
    assert changes == 2


def test_the_ring_gives_back_what_it_still_has() -> None:
    ring = Ring(seconds=1)
    ring.write(np.arange(10_000, dtype=np.int16))
    assert ring.read(9_990).tolist() == list(range(9_990, 10_000))
    ring.write(np.arange(10_000, 20_000, dtype=np.int16))
    assert ring.read(0).tolist() == list(range(4_000, 20_000))
    assert ring.read(20_000).size == 0


def test_intake_keeps_order_and_marks() -> None:
    intake = Intake(16000)
    intake.put(bytes(640 * 2), 0)
    intake.mark()
    intake.put(bytes(100), 0)
    taken = [intake.take() for _ in range(5)]
    assert [None if item is None else item[0] and len(item[0]) for item in taken] == [640, 640, None, 100, None]
    assert intake.waiting_ms == 0


def test_a_live_chunk_was_spoken_while_it_was_collected() -> None:
    intake = Intake(16000)
    intake.put(bytes(640 * 5), 1000 * NS_PER_MS)
    times = [intake.take() for _ in range(5)]
    assert [item[1] // NS_PER_MS for item in times if item] == [920, 940, 960, 980, 1000]


def test_intake_bounds_the_lead_and_forgives_pauses() -> None:
    intake = Intake(8000)
    intake.put(bytes(16000 * 10), 0)
    with pytest.raises(TooFast):
        intake.put(bytes(320), 0)
    intake.put(bytes(320), 20 * NS_PER_MS)
    with pytest.raises(TooFast):
        intake.put(bytes(320), 20 * NS_PER_MS)
    # A long silence of the client gives it no more than ten seconds either.
    intake.put(bytes(16000 * 10), 100 * NS_PER_S)
    with pytest.raises(TooFast):
        intake.put(bytes(320), 100 * NS_PER_S)


@pytest.mark.parametrize("pcm", [b"x", bytes(160_001), bytes(16000 * 10 + 320)])
def test_rubbish_is_refused_whole(pcm: bytes) -> None:
    intake = Intake(8000)
    with pytest.raises(InvalidRequest):
        intake.put(pcm, 0)
    assert intake.take() is None


def test_the_model_is_spared_a_long_silence_and_hears_what_follows_it() -> None:
    class Session:
        runs = 0

        def run(self, outputs: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.runs += 1
            return [np.array([[0.9]]), inputs["state"]]

    session = Session()
    detector = SileroDetector(session)
    quiet, loud = np.full(512, 20, dtype=np.int16), np.full(512, -3000, dtype=np.int16)
    assert [detector.probability(quiet) for _ in range(QUIET_WINDOWS + 5)][-5:] == [0.0] * 5
    assert session.runs == QUIET_WINDOWS
    assert detector.probability(loud) == 0.9
    assert detector.probability(quiet) == 0.9


def test_noise_on_the_line_is_not_taken_for_voice_that_goes_on() -> None:
    """Silero stays sure for a window or two after the voice; the level must tell where the voice went."""
    rng = np.random.default_rng(1)
    noise = lambda n: rng.normal(0, 400, n).astype(np.int16)  # noqa: E731 (about 23 dB below the voice)
    loud = (8000 * np.sin(np.arange(512) / 8)).astype(np.int16)
    activity, end, voice = VoiceActivity(VoiceSettings()), 0, None
    for window, probability in [(noise(512), 0.02)] * 60 + [(loud, 0.95)] * 10 + [(noise(512), 0.9)] * 3:
        end += 512
        voice = activity.push(probability, window, end)
    assert voice is not None
    assert voice.last_voiced_samples == 70 * 512
