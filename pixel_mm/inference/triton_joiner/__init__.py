"""What runs inside a Triton server and joins a recogniser's encoder and decoder.

`python -m pixel_mm.export target=triton_recognizer` copies it into the repository: `model.py` as it is, the rest with
the decoding code as `decoding.zip`. Needs the server's Python with numpy and `tokenizers`, and nothing else of this
project; it runs on Python 3.10 too, which Triton's images have.
"""
