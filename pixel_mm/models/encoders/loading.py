"""Puts published weights into an encoder, and refuses when one is missing or has another shape."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn

from pixel_mm.pretrained import PretrainedError, Weights


def load_published(
    module: nn.Module,
    weights: Weights | None,
    prefixes: Iterable[str],
    ignored: Iterable[str] = (),
    rename: Callable[[str], str] = str,
) -> None:
    """Load every tensor of `module` from a published model.

    Args:
        module: what is loaded, in place.
        weights: where they are.
        prefixes: under which names the published model holds this module, tried in order.
        ignored: beginnings of names, below the prefix, that the published model may have beyond those of `module`.
        rename: gives a published tensor, below the prefix, the name that `module` has for it.

    Raises:
        PretrainedError: none configured; a tensor is missing, has another shape, or is left over.
    """
    if weights is None:
        raise PretrainedError("the encoder has no weights configured; set encoder.weights or pretrained_weights: false")
    published = {rename(name): tensor for name, tensor in _below_prefix(weights.load(), prefixes).items()}
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - published.keys())
    left_over = sorted(name for name in published.keys() - wanted.keys() if not name.startswith(tuple(ignored)))
    shapes = [
        f"{name} is {list(published[name].shape)}, need {list(wanted[name].shape)}"
        for name in sorted(wanted.keys() & published.keys())
        if wanted[name].shape != published[name].shape
    ]
    for what, names in (("missing", missing), ("left over", left_over), ("of another shape", shapes)):
        if names:
            raise PretrainedError(
                f"weights of {weights.hub or weights.folder or weights.wheel} don't fit the encoder's configuration: "
                f"{len(names)} tensors {what}, such as {'; '.join(names[:3])}"
            )
    module.load_state_dict({name: published[name] for name in wanted})


def _below_prefix(tensors: dict[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    for prefix in prefixes:
        found = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if found:
            return found
    return tensors
