"""How late real-time data is, without a common clock: every frame tells its own media time."""

# A sender's sample clock may run this much slower or faster than our monotonic one.
_DRIFT = 200e-6


class Lateness:
    """Compares arrival with media time; the most punctual frame so far is the zero.

    A burst that was held up somewhere (a stalled connection, a full socket) has media time that lies behind by as much
    as it was held up.
    """

    def __init__(self, max_late_ms: float, *, sample_rate_hz: int = 16_000) -> None:
        """Takes the deadline of a frame in ms and the rate of its offsets."""
        self._max_late_ms = max_late_ms
        self._ns_per_sample = 1e9 / sample_rate_hz
        self._least_ns: float | None = None
        self._seen_ns = 0

    def late_ms(self, offset_samples: int, received_ns: int) -> float:
        """Returns how much later than the most punctual frame this one is.

        Args:
            offset_samples: media time of the frame's first sample.
            received_ns: monotonic time of its arrival.
        """
        transit_ns = received_ns - offset_samples * self._ns_per_sample
        if self._least_ns is None:
            self._least_ns = transit_ns
        else:
            self._least_ns = min(transit_ns, self._least_ns + max(0, received_ns - self._seen_ns) * _DRIFT)
        self._seen_ns = received_ns
        return (transit_ns - self._least_ns) / 1e6

    def is_late(self, offset_samples: int, received_ns: int) -> bool:
        """Whether the frame missed its deadline; drop it and count it as `late`."""
        return self.late_ms(offset_samples, received_ns) > self._max_late_ms
