"""PromQL as the dashboards use it: every series is of the chosen namespace and instances.

A label's value that begins with ``~`` is a regular expression, one with ``!`` (or ``!~``) is left out.
"""

#: What Grafana puts in place of its own variables depends on the zoom; see its documentation of `$__rate_interval`.
WINDOW, RANGE = "$__rate_interval", "$__range"
_SCOPE = 'namespace=~"$namespace",instance=~"$instance"'


def of(metric: str, **labels: str) -> str:
    """Selects the series of a metric."""
    return f"{metric}{{{','.join([_SCOPE, *(_matcher(name, value) for name, value in labels.items())])}}}"


def total(metric: str, by: str = "", **labels: str) -> str:
    """Adds up a gauge."""
    return f"sum{_by(by)} ({of(metric, **labels)})"


def rate(metric: str, by: str = "", **labels: str) -> str:
    """How fast a counter grows, per second."""
    return f"sum{_by(by)} (rate({of(metric, **labels)}[{WINDOW}]))"


def per_minute(metric: str, by: str = "", **labels: str) -> str:
    """How fast a counter grows, per minute."""
    return f"60 * {rate(metric, by, **labels)}"


def grown(metric: str, by: str = "", *, over: str = RANGE, **labels: str) -> str:
    """By how much a counter has grown in the time that is shown."""
    return f"sum{_by(by)} (increase({of(metric, **labels)}[{over}]))"


def quantile(q: float, histogram: str, by: str = "", *, over: str = WINDOW, **labels: str) -> str:
    """A quantile of a histogram, over all instances."""
    inner = f"sum{_by('le', by)} (rate({of(histogram + '_bucket', **labels)}[{over}]))"
    return f"histogram_quantile({q}, {inner})"


def mean(histogram: str, by: str = "", *, over: str = WINDOW, **labels: str) -> str:
    """The mean of a histogram's observations."""
    parts = (f"sum{_by(by)} (rate({of(histogram + part, **labels)}[{over}]))" for part in ("_sum", "_count"))
    return " / ".join(parts)


def share(part: str, whole: str) -> str:
    """One expression as a share of another."""
    return f"{part} / ({whole})"


def _by(*labels: str) -> str:
    named = ", ".join(label for label in labels if label)
    return f" by ({named})" if named else ""


def _matcher(name: str, value: str) -> str:
    mark = next((mark for mark in ("!~", "!", "~") if value.startswith(mark)), "")
    operator = {"!~": "!~", "!": "!=", "~": "=~", "": "="}[mark]
    return f'{name}{operator}"{value.removeprefix(mark)}"'
