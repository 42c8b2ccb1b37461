"""The settings by subject; `gateway.settings` puts them together."""
