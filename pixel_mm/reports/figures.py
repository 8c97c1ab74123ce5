"""Figures of emotion evaluations: the valence/arousal plane, the confusion matrix, the speakers.

Every function returns a `matplotlib.figure.Figure` that belongs to no global state: nothing to close, safe in threads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pixel_mm.runs import atomic_path

_MEASURE_STYLE = {"arousal": ("C1", "s"), "valence": ("C2", "^"), "emotion": ("C0", "o")}
_MAX_NAMED_SPEAKERS = 40


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_path(path) as aside:
        figure.savefig(aside, format="png", dpi=130, bbox_inches="tight")


def plane_figure(
    scores: np.ndarray, targets: np.ndarray, groups: Sequence[str], label_source: str, title: str
) -> Figure:
    """The valence/arousal plane: every clip where the model put it, and each group from target to prediction.

    Args:
        scores: [N, 2] predicted valence and arousal, 0..1.
        targets: [N, 2] labels, 0..1; NaN where there is none.
        groups: [N], what a clip is coloured by, e.g. its emotion.
        label_source: "rated" or "mapped", said on the figure.
        title: of the figure.
    """
    figure = Figure(figsize=(7.2, 6.4))
    axes = figure.add_subplot()
    names = sorted(set(groups))
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    whose = np.asarray(groups, dtype=str)
    for number, name in enumerate(names):
        colour, inside = palette(number % palette.N), whose == name
        axes.scatter(scores[inside, 0], scores[inside, 1], s=10, alpha=0.35, color=colour, linewidths=0)
        mean = scores[inside].mean(axis=0)
        axes.scatter(
            mean[0], mean[1], s=90, color=colour, edgecolors="black", zorder=4, label=f"{name} ({inside.sum()})"
        )
        labelled = inside & np.isfinite(targets).all(axis=1)
        if labelled.any():
            target = targets[labelled].mean(axis=0)
            axes.scatter(target[0], target[1], s=150, facecolors="none", edgecolors=colour, linewidths=2, zorder=3)
            axes.plot([target[0], mean[0]], [target[1], mean[1]], color=colour, linewidth=1.2, zorder=3)
    _frame_plane(axes)
    axes.set_title(
        f"{title}\ndots: clips as predicted; discs: their mean; rings: mean {label_source} label", fontsize=10
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    return figure


def confusion_figure(counts: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """Confusion matrix: shares of each true class (row), with counts.

    Args:
        counts: int [C, C], rows true and columns called.
        classes: [C] names.
        title: of the figure.
    """
    side = max(4.5, 0.75 * len(classes) + 2)
    figure = Figure(figsize=(side, side * 0.9))
    axes = figure.add_subplot()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true in range(len(classes)):
        for called in range(len(classes)):
            text = f"{100 * shares[true, called]:.0f} %\n{counts[true, called]}" if counts[true, called] else "0"
            colour = "white" if shares[true, called] > 0.5 else "black"
            axes.text(called, true, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("called")
    axes.set_ylabel("true")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def speaker_figure(
    recall_by_speaker: Mapping[str, Mapping[str, float | None]],
    overall: Mapping[str, float | None],
    title: str,
    num_answers: Mapping[str, int],
) -> Figure:
    """Every speaker's UA, worst first, beside the UA over all and the level of guessing.

    Args:
        recall_by_speaker: measure to UA (0..1 or None) for each speaker.
        overall: UA over all speakers, by measure.
        title: of the figure.
        num_answers: how many answers each measure has; guessing gets 1 / that.
    """
    measures = [name for name, value in overall.items() if value is not None]

    def mean_of(speaker: str) -> float:
        return float(np.mean([recall_by_speaker[speaker][name] or 0.0 for name in measures]))

    speakers = sorted(recall_by_speaker, key=mean_of)
    figure = Figure(figsize=(min(max(6.0, 0.4 * len(speakers) + 3), 16), 4.6))
    axes = figure.add_subplot()
    for place, name in enumerate(measures):
        colour, marker = _MEASURE_STYLE.get(name, ("C3", "x"))
        points = [(x + 0.2 * (place - 1), recall_by_speaker[who][name]) for x, who in enumerate(speakers)]
        known = np.array([(x, y) for x, y in points if y is not None], np.float64).reshape(-1, 2)
        axes.scatter(
            known[:, 0],
            known[:, 1],
            color=colour,
            marker=marker,
            s=36,
            label=f"{name}: {100 * (overall[name] or 0):.1f} % over all",
        )
        axes.axhline(overall[name] or 0.0, color=colour, linewidth=0.9)
        axes.axhline(1 / num_answers[name], color=colour, linewidth=0.7, linestyle=":")
    named = len(speakers) <= _MAX_NAMED_SPEAKERS
    axes.set_xticks(range(len(speakers)) if named else [], speakers if named else [], rotation=90 if named else 0)
    axes.set_xlabel("speaker, worst first")
    axes.set_ylabel("unweighted average recall")
    axes.set_ylim(-0.02, 1.04)
    axes.set_title(f"{title}\nlines: over all speakers; dotted: guessing", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8, frameon=False)
    return figure


def _frame_plane(axes: Axes) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_aspect("equal")
    axes.axhline(0.5, color="grey", linewidth=0.6)
    axes.axvline(0.5, color="grey", linewidth=0.6)
    axes.set_xlabel("valence: 0 negative, 1 positive")
    axes.set_ylabel("arousal: 0 calm, 1 excited")
