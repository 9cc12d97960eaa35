"""Linear layers whose weights are nowhere but in oneDNN's layout: for models that only predict."""

from typing import Any

from torch import Tensor, nn

from segkit.backbones.linear import Linear, pack


class PackedLinear(Linear):
    """A ``Linear`` without gradients, in its weights' precision: the same to the last bit, a Swin 6 to 12 % sooner.

    Convolutions are left as they are: laid out for one size of maps, oneDNN takes up to twenty times as long on others.
    """

    def __init__(self, linear: Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.packed = pack(linear.weight)

    @property
    def weight(self) -> Tensor:  # type: ignore[override]  # made for who asks, and not kept
        """The weights [out, in] in PyTorch's layout."""
        return self.packed.to_dense(self.packed.dtype)

    def _packed(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        del x  # whatever it is: there are no other weights
        return self.packed, self.bias

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "packed": self.weight}  # oneDNN's layout can't be copied or pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "packed": pack(state["packed"])})  # type: ignore[no-untyped-call]
