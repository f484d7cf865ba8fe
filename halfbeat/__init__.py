"""halfbeat: a voice-agent platform that answers within half a beat."""


def __getattr__(name: str) -> str:
    """`halfbeat.__version__`, read from the installed package when it is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("halfbeat")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
