"""Tokens, prices and windows: what a turn used and what that cost."""
