"""Figures of fusion: scores side by side, what confidence is worth, which words listened to which second, gates.

Every function returns a `matplotlib.figure.Figure` that belongs to no global state; `figures.save_figure` writes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

_MAX_WORDS = 60  # of an attention picture; more can't be read


def agreement_figure(scores: Mapping[str, Mapping[str, Mapping[str, Any]]], title: str) -> Figure:
    """CCC of each score by what a model was given, with intervals.

    Args:
        scores: by score and variant, `ccc` and `ci95` as `evaluation.fusion_scores.agreement` gives them.
        title: of the figure.
    """
    variants = list(dict.fromkeys(name for entries in scores.values() for name in entries))
    figure = Figure(figsize=(2.2 + 2.4 * len(scores), 4.2))
    axes = figure.add_subplot()
    width = 0.8 / max(1, len(variants))
    for number, variant in enumerate(variants):
        known = [(n, found[variant]) for n, found in enumerate(scores.values()) if variant in found]
        known = [(n, entry) for n, entry in known if entry["ccc"] is not None]
        places = np.array([n for n, _ in known]) + (number - (len(variants) - 1) / 2) * width
        values = np.array([entry["ccc"] for _, entry in known])
        axes.bar(places, values, 0.92 * width, color=colormaps["tab10"](number), label=variant)
        for place, (_, entry) in zip(places, known, strict=True):
            if entry["ci95"] is not None:
                axes.plot([place, place], entry["ci95"], color="black", linewidth=1.2)
    axes.axhline(0, color="grey", linewidth=0.6)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylabel("concordance (CCC); lines: 95 % over speakers")
    axes.set_title(title, fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    return figure


def risk_coverage_figure(
    curves: Mapping[str, tuple[ArrayLike, ArrayLike]], calibration: Mapping[str, Mapping[str, float]], title: str
) -> Figure:
    """Error on the share that a model is surest of, and how far confidence is from accuracy.

    Args:
        curves: by name, coverage [N] and risk [N], as `metrics.risk_coverage` gives them.
        calibration: by name, `confidence` and `accuracy` 0..1, and `ece`.
        title: of the figure.
    """
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for number, (name, (coverage, risk)) in enumerate(curves.items()):
        left.plot(np.asarray(coverage), np.asarray(risk), color=f"C{number}", label=name)
    left.set_xlim(0, 1)
    left.set_ylim(bottom=0)
    left.set_xlabel("coverage: share of rows, surest first")
    left.set_ylabel("risk: share of them that is wrong")
    left.legend(fontsize=8, frameon=False)
    right.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for number, (name, entry) in enumerate(calibration.items()):
        label = f"{name}: ECE {100 * entry['ece']:.1f} %"
        right.scatter(entry["confidence"], entry["accuracy"], s=60, color=f"C{number}", label=label)
    right.set_xlim(0, 1)
    right.set_ylim(0, 1)
    right.set_aspect("equal")
    right.set_xlabel("mean confidence")
    right.set_ylabel("share that is right")
    right.legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)
    return figure


def attention_figure(
    weights: ArrayLike, words: Sequence[str], seconds: float, title: str, waveform: ArrayLike | None = None
) -> Figure:
    """Which words listened to which second.

    Args:
        weights: [S, N], of each token to each latent; a row sums to 1. Latents share the time evenly.
        words: [S] tokens as text; beyond the first 60 they are left out.
        seconds: length of what was heard.
        title: of the figure.
        waveform: float [T], drawn below on the same axis of time.

    Raises:
        ValueError: weights and words don't fit.
    """
    shares = np.asarray(weights, np.float64)
    if shares.ndim != 2 or len(shares) != len(words):
        raise ValueError(f"weights {shares.shape} must have a row for each of {len(words)} words")
    shares, shown = shares[:_MAX_WORDS], list(words[:_MAX_WORDS])
    figure = Figure(figsize=(7.0, 1.8 + 0.2 * len(shown) + (1.2 if waveform is not None else 0)), layout="constrained")
    ratios = [max(1.0, 0.2 * len(shown))] + ([1.0] if waveform is not None else [])
    plots = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    image = plots[0].imshow(
        shares, aspect="auto", cmap="viridis", vmin=0, extent=(0, seconds, len(shown) - 0.5, -0.5), interpolation="none"
    )
    plots[0].set_yticks(range(len(shown)), [_visible(word) for word in shown], fontsize=8)
    figure.colorbar(image, ax=plots[0], label="share of attention", shrink=0.9)
    if waveform is not None:
        wave = np.asarray(waveform, np.float64)
        plots[1].plot(np.linspace(0, seconds, wave.size), wave, linewidth=0.4, color="black")
        plots[1].set_yticks([])
    plots[-1].set_xlabel("second of what was heard")
    plots[0].set_title(title.replace("$", r"\$"), fontsize=10)
    return figure


def gate_figure(gates: Mapping[int, Mapping[str, float]], title: str) -> Figure:
    """How far each block's gates are open.

    Args:
        gates: by layer and name of the gate, its tanh, -1..1; 0 is closed.
        title: of the figure.
    """
    figure = Figure(figsize=(max(4.0, 1.6 + 0.5 * len(gates)), 3.4))
    axes = figure.add_subplot()
    names = list(dict.fromkeys(name for found in gates.values() for name in found))
    width = 0.8 / max(1, len(names))
    for number, name in enumerate(names):
        places = np.arange(len(gates)) + (number - (len(names) - 1) / 2) * width
        axes.bar(places, [found.get(name, 0.0) for found in gates.values()], 0.92 * width, label=name)
    axes.axhline(0, color="grey", linewidth=0.6)
    axes.set_xticks(range(len(gates)), [str(layer) for layer in gates])
    axes.set_xlabel("layer that the block stands before")
    axes.set_ylabel("tanh of the gate; 0: closed")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _visible(word: str) -> str:
    """A token as it can be read in a figure: mathematical markup off, line ends shown."""
    return word.replace("\n", "↵").replace("$", r"\$").strip() or "·"
