"""A caller: plays lines into a call in real time, listens, records both sides and measures voice to voice there."""
