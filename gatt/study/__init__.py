"""The study: which objective, which history, how many families and which weights, on the miniature."""
