"""What is loud is voice: stands in for a model in tests and load runs. Never a default."""

from halfbeat.audio import Samples, level_dbfs

#: A caller at a telephone is louder than this, its silence is not.
VOICE_DBFS = -40.0


class Loudness:
    """Implements `services.router.engine.VoiceDetector`; keeps no state."""

    def probability(self, window: Samples) -> float:
        """See `services.router.engine.VoiceDetector`."""
        return 0.95 if level_dbfs(window) > VOICE_DBFS else 0.02
