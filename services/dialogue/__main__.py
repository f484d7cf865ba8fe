"""Runs the dialogue service: ``python -m services.dialogue --help``."""

import sys

from halfbeat.service import main
from services.dialogue.config import DialogueSettings
from services.dialogue.service import DialogueService

if __name__ == "__main__":
    sys.exit(main(DialogueSettings, DialogueService))
