"""What answers inside a Triton server: `model.py` is copied into the repository, `worker` runs beside the server.

The server's own Python has another numpy than torch's, and in Triton's images another version of Python. So the model
starts a process with an interpreter that has pixel_mm and torch, and talks to it over a pipe.
"""
