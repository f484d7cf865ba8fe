"""Takes the agent's echo, and noise, out of what callers send; the calls of a process are cleaned together.

Work that comes while the thread is busy is done at once for all calls that wait: what one call costs alone, many share.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from halfbeat.audio import BYTES_PER_SAMPLE, RATE_HZ, Floats, samples_of
from halfbeat.audio.echo import DELAY, EchoCanceller
from halfbeat.audio.linear import HOP
from halfbeat.clock import NS_PER_S
from services.router import counters
from services.router.reference import Reference, position_of

#: Audio that comes later than its place in the stream by more than this, for this long: some was lost on the way.
_LOST = RATE_HZ // 25
_LOST_AFTER = RATE_HZ
#: Moments that are closer than this are the same: 2 ms.
_SAME = RATE_HZ // 500
#: Frames of 20 ms that an edge may leave unacknowledged.
_FRAMES = 500


@dataclass(slots=True)
class _Work:
    """Hops of one call, [n, HOP] each."""

    row: int
    heard: Floats
    played: Floats
    done: asyncio.Future[None]
    cleaned: list[Floats] = field(default_factory=list)
    words: list[Floats] = field(default_factory=list)
    is_clear: bool = False


class Cleaner:
    """The canceller on a thread of its own. One event loop."""

    def __init__(self, canceller: EchoCanceller) -> None:
        """Takes the canceller of this process."""
        self._canceller = canceller
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="echo")
        self._waiting: list[_Work] = []
        self._leaving: list[int] = []
        self._is_busy = False

    def line(self, rate_hz: int, *, hears_agent: bool = True) -> "Line":
        """Returns the canceller of one call, whose edge has this rate; without the agent's echo noise alone goes.

        Raises:
            AtCapacity: there are more calls than were planned.
        """
        return Line(self, self._canceller.open(), rate_hz, hears_agent=hears_agent)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def free(self, row: int) -> None:
        """A call is over. Its row goes to another only behind the work that waits: that would be heard in two calls."""
        self._leaving.append(row)
        if not self._is_busy:
            self._begin()

    async def clean(self, row: int, heard: Floats, played: Floats) -> tuple[Floats, Floats, bool]:
        """Cleans hops, [n, HOP].

        Returns:
            As many that were before them, the same for the recogniser, and whether the call is clear of echo.
        """
        work = _Work(row, heard, played, asyncio.get_running_loop().create_future())
        self._waiting.append(work)
        if not self._is_busy:
            self._begin()
        await work.done
        return np.concatenate(work.cleaned), np.concatenate(work.words), work.is_clear

    def _begin(self) -> None:
        batch, self._waiting = [work for work in self._waiting if not work.done.done()], []
        leaving, self._leaving = self._leaving, []
        with suppress(RuntimeError):  # the thread is gone, and the rows with it
            running = asyncio.get_running_loop().run_in_executor(self._thread, self._do, batch, leaving)
            self._is_busy = True
            running.add_done_callback(self._done(batch))

    def _done(self, batch: list[_Work]) -> Callable[["asyncio.Future[None]"], None]:
        def done(running: "asyncio.Future[None]") -> None:
            error = None if running.cancelled() else running.exception()
            for work in batch:
                if work.done.done():
                    continue  # its call has ended
                if error is None:
                    work.done.set_result(None)
                else:
                    work.done.set_exception(error)
            self._is_busy = False
            if self._waiting or self._leaving:
                self._begin()

        return done

    def _do(self, batch: list[_Work], leaving: list[int]) -> None:
        try:
            self._clean(batch)
        finally:
            for row in leaving:
                self._canceller.close(row)

    def _clean(self, batch: list[_Work]) -> None:
        for i in range(max((len(work.heard) for work in batch), default=0)):
            now = [work for work in batch if i < len(work.heard)]
            rows = np.array([work.row for work in now])
            with counters.CLEANING.time():
                cleaned = self._canceller.step(
                    rows, np.stack([work.heard[i] for work in now]), np.stack([work.played[i] for work in now])
                )
            counters.CLEANED.inc(len(now))
            for at, work in enumerate(now):
                work.cleaned.append(cleaned.samples[at])
                work.words.append(cleaned.words[at])
                work.is_clear = bool(cleaned.is_clear[at])


class Line:
    """One call's way through the cleaner: cuts its audio in hops and finds what was played to each."""

    def __init__(self, cleaner: Cleaner, row: int, rate_hz: int, *, hears_agent: bool) -> None:
        self._cleaner, self._row, self.hears_agent = cleaner, row, hears_agent
        self._reference = Reference(rate_hz)
        self._rest: Floats = np.zeros(0, dtype=np.float32)
        # On the router's clock, the position of the first sample of `_rest`, once audio has come.
        self._position: int | None = None
        self._late_since: int | None = None
        self._is_first = True
        self._rate = rate_hz
        # 16 kHz samples that came in so far.
        self._count = 0
        # Frames of the agent that were not played yet: first sample at the edge's rate, position by our clock, audio.
        self._frames: deque[tuple[int, int, bytes]] = deque(maxlen=_FRAMES)
        # How much later than by our clock the caller's end plays, in samples, by its own reports.
        self._shift = 0
        #: The agent's echo is known to be gone; None for a call that is not to have any.
        self.is_clear: bool | None = False if hears_agent else None

    @property
    def delay_ns(self) -> int:
        """How far what comes out is behind what went in."""
        return (self._rest.size + DELAY) * NS_PER_S // RATE_HZ

    def sent(self, pcm: bytes, offset: int, soonest_ns: int) -> None:
        """A frame of the agent leaves; it sounds at that moment at the soonest.

        Args:
            pcm: at the edge's rate.
            offset: agent audio before it since the call began, at the edge's rate.
            soonest_ns: on the router's clock.
        """
        if self.hears_agent:
            position = position_of(soonest_ns)
            self._frames.append((offset, position, pcm))
            self._reference.write(pcm, position + self._shift)

    def acknowledged(self, played: int, received: int) -> None:
        """The caller's end had played so much when it had sent so much, both at the edge's rate.

        Both ends of the echo's path are known on one clock then, the caller's. An answer that begins a little later
        there than the last one did would move its echo otherwise, and the canceller would have to learn it anew.
        """
        while self._frames and self._frames[0][0] + len(self._frames[0][2]) // BYTES_PER_SAMPLE <= played:
            self._frames.popleft()
        if not self._frames or self._position is None or self._frames[0][0] > played:
            return
        offset, position, _ = self._frames[0]
        by_clock = position + (played - offset) * RATE_HZ // self._rate
        by_caller = self._position + received * RATE_HZ // self._rate - (self._count - self._rest.size)
        if abs(by_caller - by_clock - self._shift) > _SAME:
            self._shift = by_caller - by_clock
            for _, at, pcm in self._frames:
                self._reference.write(pcm, at + self._shift)

    async def clean(self, pcm: bytes, received_ns: int) -> tuple[bytes, bytes]:
        """Cleans the next audio, 16 bit at 16 kHz, complete at that time.

        Returns:
            What lags by `delay_ns`: for decisions about voice, and, as long, for the recogniser.
        """
        samples = samples_of(pcm).astype(np.float32) / 32768
        self._count += samples.size
        self._follow(position_of(received_ns) - samples.size)
        self._rest = np.concatenate((self._rest, samples))
        hops = self._rest.size // HOP
        if not hops:
            return b"", b""
        assert self._position is not None
        heard = self._rest[: hops * HOP].reshape(hops, HOP)
        played = self._reference.read(self._position, hops * HOP).reshape(hops, HOP)
        self._rest = self._rest[hops * HOP :]
        self._position += hops * HOP
        cleaned, words, is_clear = await self._cleaner.clean(self._row, heard, played)
        self.is_clear = is_clear if self.hears_agent else None
        begin = DELAY if self._is_first else 0  # before the first sample there was nothing
        self._is_first = False
        return _pcm(cleaned[begin:]), _pcm(words[begin:])

    def close(self) -> None:
        """The call is over."""
        self._cleaner.free(self._row)

    def _follow(self, arrived: int) -> None:
        """Audio that was lost on the way, or held up, must not move the echo against what was played."""
        if self._position is None:
            self._position = arrived
        late = arrived - (self._position + self._rest.size)
        if late < -_LOST:
            # Nothing comes before it was heard: what came before was late, or was taken for lost and was not.
            self._position += late
            self._late_since = None
        elif late < _LOST:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = arrived
        elif arrived - self._late_since > _LOST_AFTER:
            self._position += late
            self._late_since = None


def _pcm(samples: Floats) -> bytes:
    pcm: bytes = (samples * 32768).round().clip(-32768, 32767).astype("<i2").tobytes()
    return pcm
