"""Runs the asr service: ``python -m services.asr --help``."""

import sys

from halfbeat.service import main
from services.asr.config import AsrSettings
from services.asr.service import AsrService

if __name__ == "__main__":
    sys.exit(main(AsrSettings, AsrService))
