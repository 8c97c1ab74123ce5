"""A frozen language model that hears: resampler, gated cross-attention, heads."""
