"""Make the JSON of a request of a WAV file, for curl; needs nothing but Python.

    python3 request.py clip.wav RATE_HZ > request.json

RATE_HZ is the rate of the model. The file has 16 bits per sample; its channels are mixed.
"""

import array
import json
import sys
import wave


def main() -> None:
    """Read the file, write the request to the standard output."""
    with wave.open(sys.argv[1]) as file:
        channels, rate_hz = file.getnchannels(), int(sys.argv[2])
        if file.getsampwidth() != 2 or file.getframerate() != rate_hz:
            sys.exit(f"{sys.argv[1]} is not 16 bit, {rate_hz} Hz; ffmpeg -i IN -ar {rate_hz} -c:a pcm_s16le OUT.wav")
        samples = array.array("h", file.readframes(file.getnframes()))
    if sys.byteorder == "big":
        samples.byteswap()
    mono = [sum(samples[i : i + channels]) / channels / 32768 for i in range(0, len(samples), channels)]
    waveform = {"name": "waveform", "datatype": "FP32", "shape": [1, len(mono)], "data": mono}
    num_samples = {"name": "num_samples", "datatype": "INT64", "shape": [1, 1], "data": [len(mono)]}
    json.dump({"inputs": [waveform, num_samples]}, sys.stdout)


if __name__ == "__main__":
    main()
