"""The real Triton Inference Server on this machine, without a container: to try a model, for tests and benchmarks."""
