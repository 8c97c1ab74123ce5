"""The folder that runs a Triton repository: compose file, Prometheus, Grafana, scripts and a guide."""
