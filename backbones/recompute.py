"""Gradient checkpointing: a stage's inner results are dropped and computed again in the backward pass.

Memory for time (Chen et al., 2016, arXiv 1604.06174): what is kept between the passes is each stage's input alone. The
gradients are the same, and so is all that a stage remembers: dropped paths are drawn from the same random numbers,
running statistics are updated once.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from segkit.backbones.backbone import Backbone


def recompute_stages(backbone: Backbone) -> None:
    """Let each of the backbone's stages compute its inner results again instead of keeping them for the backward pass.

    A stage that is a mere list of parts, or of such lists, has each part treated so.
    """
    for part in _parts(backbone.stages):
        # A partial of the class's own method, not a closure: a deep copy of the part then calls itself, not this.
        part.forward = partial(_forward, part)


def _parts(stages: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for stage in stages:
        if isinstance(stage, nn.ModuleList):
            yield from _parts(stage)
        else:
            yield stage


def _forward(part: nn.Module, *arguments: Any, **options: Any) -> Any:
    def whole(*given: Any, **named: Any) -> Any:
        # A part may write into the list of maps that it is given: each pass gets its own.
        return type(part).forward(part, *(list(each) if isinstance(each, list) else each for each in given), **named)

    if not torch.is_grad_enabled():
        return whole(*arguments, **options)
    return checkpoint(whole, *arguments, use_reentrant=False, context_fn=partial(_passes, part), **options)


def _passes(part: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """What surrounds the first pass, and the second."""
    return nullcontext(), _memory_kept(part)


@contextmanager
def _memory_kept(part: nn.Module) -> Iterator[None]:
    """Whatever happens to the part's buffers within the context, after it they are what they were.

    They stand aside rather than being copied back: writing into them would look like a change to autograd.
    """
    buffers = [
        (module, name, buffer) for module in part.modules() for name, buffer in module.named_buffers(recurse=False)
    ]
    for module, name, buffer in buffers:
        setattr(module, name, buffer.clone())
    try:
        yield
    finally:
        for module, name, buffer in buffers:
            setattr(module, name, buffer)
