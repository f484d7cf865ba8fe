"""Runs the router: ``python -m services.router --help``."""

import sys

from halfbeat.service import main
from services.router.config import RouterSettings
from services.router.service import RouterService

if __name__ == "__main__":
    sys.exit(main(RouterSettings, RouterService))
