"""HTTP: parse, call, reply; nothing else."""
