"""The reference application: a city's 311 line that knows the caller's street and sends a truck."""
