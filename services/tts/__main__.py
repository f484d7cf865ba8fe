"""Runs the tts service: ``python -m services.tts --help``."""

import sys

from halfbeat.service import main
from services.tts.config import TtsSettings
from services.tts.service import TtsService

if __name__ == "__main__":
    sys.exit(main(TtsSettings, TtsService))
