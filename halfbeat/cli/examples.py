"""Examples under a command's help."""


def examples(*lines: str) -> str:
    """An epilog for a click command that shows the lines as they are, not wrapped."""
    return "\b\n" + "\n".join(("Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)))
