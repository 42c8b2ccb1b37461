"""What the gateway and its arms do, measured over HTTP: `python -m benchmarks --help`."""
