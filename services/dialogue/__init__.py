"""The dialogue service: what the agent says and does next."""
