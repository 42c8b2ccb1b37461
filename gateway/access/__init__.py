"""Who gets in, under which name, and how often."""
