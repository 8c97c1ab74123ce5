"""Recorded speech on its way to a batch: corpora, utterances, splits, augmentation, batching."""
