"""Valence, arousal, dominance and emotion category from speech."""
