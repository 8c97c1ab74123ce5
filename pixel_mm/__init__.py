"""pixel_mm: ears for Pixel. Speech emotion, speech recognition and fusion, from corpus to served model."""

__version__ = "0.1.0"
