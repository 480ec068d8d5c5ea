"""Complete small programs, each with `python -m`."""
