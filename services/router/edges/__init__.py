"""Ways into a call: each edge decodes its protocol, drives one `LiveCall` and encodes its events."""
