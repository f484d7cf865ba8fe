"""The caller sounds while the agent speaks: how loud may the agent be, and is it meant to stop? No I/O.

The first window with voice ducks the agent; voice that goes on mutes it, which holds its place. Both are taken back. So
the agent is out of the caller's way within a quarter of a second, and the judgement, which stops it for good, may wait
for words. A listener's "mm-hm", a cough and a click are not meant; the agent then goes on where it was ducked.

The turn detector is not asked: it hears an end behind "mm-hm" as much as behind "stop".
"""

from dataclasses import dataclass
from enum import Enum

from halfbeat.clock import NS_PER_MS
from services.router.backchannel import is_backchannel, may_become_backchannel, words_of
from services.router.ducking import Level
from services.router.echo_guard import EchoGuard
from services.router.endpoint import Voice


class Meaning(Enum):
    """What is known of a sound."""

    OPEN = "open"
    MEANT = "meant"
    NOT_MEANT = "not_meant"


@dataclass(frozen=True, slots=True)
class OverlapSettings:
    """How the agent yields while it speaks; ms.

    Attributes:
        mute_ms: voice that mutes the agent, short gaps left out; twice as much when the voice detector is not sure.
        barge_in_ms: voice with a word other than backchannel that stops it.
        barge_in_words: so many words stop it, however short they were.
        wordless_ms: voice that stops it before any word is known.
        noise_ms: the same for a sound that the voice detector is not sure of.
        sure_voice: mean probability of voice from which the detector counts as sure.
        faint_db: voice that is so much fainter than the caller's own is meant for somebody else.
        faint_ms: such voice stops the agent only when it lasts this long.
        backchannel_ms: "mm-hm" and the like stop the agent only when they last longer than this.
        guard_ms: how long echo is expected at the beginning of an answer, where nothing measures it.
        echo_limit_ms: the same at the most, where it is measured, and not known to be gone.
        echo_ms: voice that began under the echo guard must last this long to stop it.
        unclear_ms: the same where the echo is measured and not gone yet: the words may be the agent's own.
        click_ms: silence after which a sound too short for speech is forgotten.
        resume_ms: silence after which the agent goes on although no words are known.
        noise_resume_ms: the same after a sound that the voice detector is not sure of.
        word_resume_ms: the same after backchannel.
        limit_ms: longest time that the agent is out of the way without a decision.
        late_reply_ms: "yes" over the agent's last words is a turn if the agent ends within this time.
    """

    mute_ms: int = 120
    barge_in_ms: int = 280
    barge_in_words: int = 2
    wordless_ms: int = 720
    noise_ms: int = 2000
    sure_voice: float = 0.75
    faint_db: float = 7.0
    faint_ms: int = 2400
    backchannel_ms: int = 900
    guard_ms: int = 400
    echo_limit_ms: int = 3000
    echo_ms: int = 500
    unclear_ms: int = 1800
    click_ms: int = 64
    resume_ms: int = 400
    noise_resume_ms: int = 96
    word_resume_ms: int = 64
    limit_ms: int = 2500
    late_reply_ms: int = 1500


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of the caller's voice over the agent's.

    Attributes:
        voice_ms: how long it was voiced.
        quiet_ms: silence since; 0 while it goes on.
        likelihood: mean probability of its windows being voice.
        text: the words of the turn so far.
        is_final: nothing will be added to them.
        is_guarded: it began while echo was likely.
        is_unclear: the echo was measured then, and not gone.
        is_faint: it is fainter than the caller speaks to the agent.
    """

    voice_ms: int
    quiet_ms: int
    likelihood: float
    text: str
    is_final: bool = False
    is_guarded: bool = False
    is_unclear: bool = False
    is_faint: bool = False


def judge(sound: Sound, settings: OverlapSettings, language: str) -> Meaning:
    """Says whether a sound is meant to stop the agent, as far as is known."""
    is_sure = sound.likelihood >= settings.sure_voice
    words = words_of(sound.text)
    if sound.is_guarded and sound.voice_ms < _least_ms(sound, settings):
        patience_ms = settings.resume_ms
        is_meant = False
    elif is_backchannel(sound.text, language):
        patience_ms = settings.word_resume_ms
        is_meant = sound.voice_ms >= settings.backchannel_ms
    elif sound.is_faint:
        patience_ms = settings.resume_ms
        is_meant = sound.voice_ms >= settings.faint_ms
    elif words and (sound.is_final or not may_become_backchannel(sound.text, language)):
        patience_ms = settings.limit_ms
        is_meant = sound.is_final or len(words) >= settings.barge_in_words or sound.voice_ms >= settings.barge_in_ms
    else:
        # A sure voice without words may be a "stop" that was not understood: its next word is waited for in silence.
        patience_ms = settings.resume_ms if is_sure else 0 if sound.is_final else settings.noise_resume_ms
        is_meant = sound.voice_ms >= (settings.wordless_ms if is_sure else settings.noise_ms)
    if is_meant:
        return Meaning.MEANT
    return Meaning.NOT_MEANT if sound.quiet_ms and sound.quiet_ms >= patience_ms else Meaning.OPEN


def _least_ms(sound: Sound, settings: OverlapSettings) -> int:
    """How much voice it takes where it may be echo."""
    if sound.is_unclear:
        return settings.unclear_ms
    return settings.barge_in_ms if sound.is_final and words_of(sound.text) else settings.echo_ms


class Overlap:
    """How loud the agent may be, window by window of the caller.

    Attributes:
        level: of the agent now.
        start_samples: first voiced sample of the caller's present stretch of voice.
        is_guarded: the stretch began while echo was likely.
        is_unclear: it began while the echo was measured and not gone; what it has of voice may be echo, even when the
            echo has gone since.
        is_quiet: the last window had no voice.
    """

    def __init__(self, settings: OverlapSettings, guard: EchoGuard) -> None:
        self._settings, self._guard = settings, guard
        # How loud the caller speaks to the agent; None before the first turn.
        self._usual_dbfs: float | None = None
        self.reset()

    def reset(self) -> None:
        """Another answer, or none: nothing is being yielded to."""
        self.level = Level.FULL
        self.start_samples = 0
        self.is_guarded = self.is_unclear = False
        self.is_quiet = True
        self._peak_dbfs = 0.0
        self._probabilities, self._windows = 0.0, 0
        self._ducked_ns = 0
        self._is_spent = False

    @property
    def likelihood(self) -> float:
        """Mean probability of voice in the present stretch; 1 before there was any."""
        return self._probabilities / self._windows if self._windows else 1.0

    @property
    def is_faint(self) -> bool:
        """Whether the present stretch is fainter than the caller speaks to the agent."""
        usual = self._usual_dbfs
        return usual is not None and self._windows > 0 and self._peak_dbfs < usual - self._settings.faint_db

    def learn(self, peak_dbfs: float) -> None:
        """The caller said a turn so loudly."""
        usual = self._usual_dbfs
        self._usual_dbfs = peak_dbfs if usual is None else usual + 0.3 * (peak_dbfs - usual)

    def hear(self, voice: Voice, now_ns: int, sounding_ms: int) -> Level:
        """Takes a window of the caller; returns the agent's level from now on.

        Args:
            voice: the window.
            now_ns: monotonic.
            sounding_ms: since the first audible sample of the present answer.
        """
        settings = self._settings
        self.is_quiet = not voice.row_ms
        if self.is_quiet:
            self._is_spent = self._is_spent and voice.silence_ms < settings.resume_ms
            return self.level
        is_guarded = self._guard.is_on(sounding_ms)
        if voice.start_samples != self.start_samples or not self._windows:
            self.start_samples, self.is_guarded = voice.start_samples, is_guarded
            self.is_unclear = is_guarded and self._guard.is_clear is False
            self._probabilities, self._windows = 0.0, 0
        self._peak_dbfs = voice.peak_dbfs
        self._probabilities += voice.probability
        self._windows += 1
        if is_guarded or self._is_spent:
            return self.level
        if self.level is Level.FULL:
            self.level, self._ducked_ns = Level.DUCKED, now_ns
        needed_ms = settings.mute_ms if self.likelihood >= settings.sure_voice else 2 * settings.mute_ms
        if max(voice.row_ms, voice.voiced_ms) >= needed_ms:  # a stop inside a word is no pause
            self.level = Level.MUTED
        return self.level

    def is_click(self, voice: Voice) -> bool:
        """Whether what was heard ended before it was long enough to be speech."""
        return not voice.is_active and voice.silence_ms >= self._settings.click_ms

    def go_on(self) -> None:
        """It was not meant: full level again."""
        self.level = Level.FULL

    def is_overdue(self, now_ns: int) -> bool:
        """Whether the agent was out of the way too long; it then goes on, up to the next pause of the caller."""
        if self.level is Level.FULL or now_ns - self._ducked_ns < self._settings.limit_ms * NS_PER_MS:
            return False
        self._is_spent = True
        return True
