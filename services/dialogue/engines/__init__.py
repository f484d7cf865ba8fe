"""Adapters of language models, imported only when chosen."""
