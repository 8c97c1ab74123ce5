"""Speech encoders: raw waveform in, frames out, whatever the batch."""
