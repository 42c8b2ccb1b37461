"""How a running gateway is seen: Prometheus's text, logs, OpenTelemetry."""
