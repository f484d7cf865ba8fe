"""The echo canceller against nothing, WebRTC's AEC3 and its own linear stage: `python -m bench.echo --help`."""
