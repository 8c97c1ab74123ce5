"""Benchmarks, one module a topic: `python -m benchmarks.TOPIC --output FILE.json`; `--help` says what each measures."""
