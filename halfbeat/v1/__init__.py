"""Generated from proto/halfbeat/v1 by `make proto`; do not edit."""
