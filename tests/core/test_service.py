"""What every service's process does."""

import gc

from halfbeat import service


def test_a_full_collection_no_longer_walks_what_was_there_when_the_service_was_ready() -> None:
    try:
        service.spare_the_collector()
        assert gc.get_freeze_count() > 10 * len(gc.get_objects())
    finally:
        gc.unfreeze()
