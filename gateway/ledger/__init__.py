"""The books: one row a turn, on disk before the client sees the end of its answer."""
