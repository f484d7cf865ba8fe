"""halfbeat: a voice-agent platform that answers within half a beat."""
