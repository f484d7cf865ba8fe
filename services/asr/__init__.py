"""Hears: the caller's audio in, words out while they are being said."""
