"""The same work as other libraries do, in one process."""
