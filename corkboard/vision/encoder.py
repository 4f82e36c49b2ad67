"""What every image encoder has in common, and the encoder that is a trunk and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from corkboard.artifacts import Space
from corkboard.vision.config import TrunkConfig
from corkboard.vision.images import checked, resized, to_tensor


class ImageEncoder(Protocol):
    """Anything that turns pictures into vectors of one space.

    ``side`` is the side in px that it reads; pictures of another size are put on a white square of that side first.
    """

    @property
    def dim(self) -> int: ...

    @property
    def side(self) -> int: ...

    @property
    def space(self) -> Space: ...

    def encode(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` from uint8 ``(n, height, width, 3)``. Whether vectors have unit length is the encoder's own business."""
        ...


class Trunk(nn.Module):
    """A network from pictures to a map and a vector; its heads are somebody else's.

    ``dim`` is the width of both, ``side`` the side in px of the pictures, ``mean`` and ``std`` by channel (of values in 0..1) what they
    are normalised with. ``depths`` counts the layers from the input on, as a learning rate that decays by layer does. ``settings`` say how
    to build it.
    """

    settings: TrunkConfig
    dim: int
    side: int
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)
    depths: int

    def features(self, pixels: Tensor) -> Tensor:
        """The map ``(n, dim, height, width)`` before pooling, from normalised pixels ``(n, 3, side, side)``."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> Tensor:
        """``(n, dim)`` from normalised pixels ``(n, 3, side, side)``: here the mean of the map."""
        return self.features(pixels).mean(dim=(2, 3))

    def depth_of(self, parameter: str) -> int:
        """The layer, 0 to ``depths`` - 1, that the parameter of this name belongs to."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the network is beside its weights, as JSON."""
        return {"settings": self.settings.model_dump(mode="json")}

    def served(self) -> Trunk:
        """The fastest trunk in evaluation mode with these outputs; it may share weights with this one, which must not train meanwhile."""
        return self.eval()

    def pixels(self, images: np.ndarray) -> Tensor:
        """float32 ``(n, 3, side, side)``, normalised, from uint8 ``(n, height, width, 3)`` of any size."""
        return to_tensor(resized(images, self.side), self.mean, self.std)


class TrunkEncoder:
    """The pooled output of a trunk as the vector of a picture: not of unit length, and for a CNN never negative.

    ``space`` is ``trunk@`` and a digest of the weights unless it is given. The trunk must not train while this encoder is in use.
    """

    def __init__(self, trunk: Trunk, space: Space | None = None, batch: int = 128):
        self.space = space or Space("trunk", digest(trunk.state_dict()))
        self.trunk, self.batch = trunk.served(), batch

    @property
    def dim(self) -> int:
        return self.trunk.dim

    @property
    def side(self) -> int:
        return self.trunk.side

    def encode(self, images: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)`` from uint8 ``(n, height, width, 3)``, ``batch`` pictures at once, so that a mapped array may be large."""
        images = checked(images)
        out = np.empty((len(images), self.dim), np.float32)
        self.trunk.eval()
        with torch.inference_mode():
            for start in range(0, len(images), self.batch):
                out[start : start + self.batch] = self.trunk(self.trunk.pixels(images[start : start + self.batch])).numpy()
        return out


class ConvBlock(nn.Module):
    """A 3x3 convolution, batch norm and ReLU: ``(n, inputs, h, w)`` to ``(n, outputs, h / stride, w / stride)``, rounded up."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.norm(self.conv(x)))

    @property
    def is_folded(self) -> bool:
        """Whether the statistics are in the convolution, so that it cannot be trained on."""
        return isinstance(self.norm, nn.Identity)

    def folded(self) -> Self:
        """This block, in place, with the statistics of its batch norm multiplied into the convolution: equal outputs, one pass less."""
        if not self.is_folded:
            self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()
        return self


def digest(tensors: Mapping[str, Tensor]) -> str:
    """12 hex digits over names, shapes and values of all that is no whole number: a counter of steps changes no output."""
    found = hashlib.blake2b(digest_size=6)
    for name in sorted(name for name, values in tensors.items() if values.is_floating_point()):
        values = tensors[name].detach().cpu().contiguous()
        found.update(f"{name}{tuple(values.shape)}{values.dtype}".encode())
        found.update(values.flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
