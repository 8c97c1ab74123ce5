"""Rows of voice, words, answer and scores: what the fusion adapter learns from and is judged by."""
