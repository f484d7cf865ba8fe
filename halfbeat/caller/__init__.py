"""A caller: plays lines into a call in real time, listens, records both sides, measures voice to voice at its own end."""
