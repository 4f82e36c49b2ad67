"""Vision encoders that others have trained, from a folder or the Hugging Face hub, behind the interface of a trunk.

SigLIP and SigLIP 2, CLIP, DINOv2 and DINOv3, ViT, and whatever else `transformers` loads as a model of pictures; of models of pictures and
text the vision half is kept. Pixels are prepared here with the checkpoint's own mean, standard deviation and size, so that torchvision is
not needed. Where we differ from the checkpoints' own preparation: the whole picture is put on a white square, with bilinear antialiasing;
nothing is cropped away and no proportions change.

Only safetensors are read and no code of a checkpoint is run.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corkboard.errors import ArtifactError, InputError, NotFound
from corkboard.learning.checkpoints import quiet, transformers_package
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import Trunk

_FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "*.safetensors", "*.safetensors.index.json")


class PretrainedTrunk(Trunk):
    """A vision model of `transformers` as a trunk: normalised pixels ``(n, 3, side, side)`` to a map and a vector ``(n, dim)``.

    The vector is what the model itself pools with (the attention head of SigLIP, the normed class token of CLIP and DINO); where it has no
    such output, the class token; where it has none, the mean of all tokens. The pooler of ViT is left out: checkpoints often lack it.
    """

    def __init__(
        self, model: nn.Module, settings: TrunkConfig, side: int, mean: tuple[float, float, float], std: tuple[float, float, float]
    ):
        super().__init__()
        if hasattr(getattr(model, "pooler", None), "dense"):
            model.pooler = None
        self.model, self.settings, self.side, self.mean, self.std = model, settings, side, mean, std
        self.patch = _whole(getattr(model.config, "patch_size", None))
        if self.patch and side % self.patch:
            raise InputError("The side is not a whole number of patches", found=side, expected=f"a multiple of {self.patch} px")
        read = inspect.signature(model.forward).parameters
        if "pixel_values" not in read:
            raise InputError("This is no model of pictures", found=type(model).__name__, expected="SigLIP, CLIP, DINO, ViT or the like")
        self._packed = "spatial_shapes" in read
        self._stretched = "interpolate_pos_encoding" in read and side != _whole(getattr(model.config, "image_size", None))
        self._layers, self.depths = _layers_of(model)
        with torch.inference_mode():
            self.dim = self(torch.zeros(1, 3, side, side)).shape[1]

    def features(self, pixels: Tensor) -> Tensor:
        """The map ``(n, dim, grid, grid)`` of the last layer, without class and register tokens."""
        states = self._run(pixels).last_hidden_state
        if states.ndim == 4:
            return states
        grid = self._grid(states.shape[1])
        return states[:, states.shape[1] - grid * grid :].transpose(1, 2).unflatten(2, (grid, grid))

    def forward(self, pixels: Tensor) -> Tensor:
        """``(n, dim)``, not of unit length."""
        output = self._run(pixels)
        pooled = getattr(output, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        states = output.last_hidden_state
        if states.ndim == 4:
            return states.mean(dim=(2, 3))
        return states[:, 0] if states.shape[1] > self._grid(states.shape[1]) ** 2 else states.mean(dim=1)

    def _run(self, pixels: Tensor) -> Any:
        if not self._packed:
            return self.model(pixels, **({"interpolate_pos_encoding": True} if self._stretched else {}))
        # SigLIP 2 of any proportions reads a row of patches, each its pixels from left to right with their channels side by side
        assert self.patch
        grid = self.side // self.patch
        cells = pixels.unflatten(2, (grid, self.patch)).unflatten(4, (grid, self.patch)).permute(0, 2, 4, 3, 5, 1)
        mask, shapes = torch.ones(len(pixels), grid * grid, dtype=torch.int64), torch.full((len(pixels), 2), grid)
        return self.model(cells.flatten(3).flatten(1, 2), pixel_attention_mask=mask, spatial_shapes=shapes)

    def _grid(self, tokens: int) -> int:
        """Cells a side of the map; models of several scales do not say, there the largest square is taken."""
        grid = self.side // self.patch if self.patch else tokens
        return grid if grid * grid <= tokens else math.isqrt(tokens)

    def depth_of(self, parameter: str) -> int:
        """0 for what comes before the layers, then the layers; what follows is of the last one."""
        return self._layers.get(parameter.removeprefix("model."), 0)

    def facts(self) -> dict[str, Any]:
        """All that :meth:`of_facts` needs to build this again without its checkpoint, but for the weights; JSON."""
        return {
            **super().facts(),
            "model": json.loads(self.model.config.to_json_string(use_diff=False)),
            "side": self.side,
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> PretrainedTrunk:
        """A trunk of that build with random weights."""
        transformers = transformers_package()
        description = dict(facts["model"])
        config = transformers.AutoConfig.for_model(description.pop("model_type"), **description)
        model = transformers.AutoModel.from_config(config).float().eval()
        settings = TrunkConfig.model_validate(facts["settings"])
        return cls(model, settings, facts["side"], tuple(facts["mean"]), tuple(facts["std"]))


def load_pretrained(checkpoint: str | Path, side: int | None = None) -> PretrainedTrunk:
    """The vision encoder of a folder, or of a name on the hub, in float32.

    A folder is read without asking the network for anything; a name is fetched into the hub's own cache once. ``side`` in px, None: what
    preprocessor_config.json asks for; another side stretches the grid of positions. Raises :class:`NotFound` where nothing is there or
    `transformers` is not installed, :class:`ArtifactError` where weights are missing or not safetensors, and :class:`InputError` for a
    model that does not read pictures.
    """
    from safetensors import SafetensorError

    transformers = transformers_package()
    folder = Path(checkpoint) if Path(checkpoint).is_dir() else _fetched(str(checkpoint))
    own_side, mean, std = _preparation(folder)
    with quiet(transformers):
        try:
            model, loading = transformers.AutoModel.from_pretrained(
                folder,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ArtifactError(
                f"The checkpoint {checkpoint} cannot be loaded: {error}",
                expected="config.json of a known model and its weights as safetensors",
            ) from None
    vision = getattr(model, "vision_model", model)
    wanted = "vision_model." if vision is not model else ""
    missing = sorted(n for n in loading["missing_keys"] if n.startswith(wanted) and not n.removeprefix(wanted).startswith("pooler."))
    if missing:  # they would be random, and nothing would say so
        raise ArtifactError(f"The checkpoint {checkpoint} lacks weights", found=missing[:5], expected="all of the vision model")
    patch = _whole(getattr(vision.config, "patch_size", None))
    asked = side or own_side or _packed_side(folder, patch)
    if asked is None:
        raise ArtifactError(f"The checkpoint {checkpoint} does not say how large its pictures are", hint="Give a side.")
    settings = TrunkConfig(kind="pretrained", checkpoint=str(checkpoint), checkpoint_side=asked)
    return PretrainedTrunk(vision.eval(), settings, asked, mean, std)


def _fetched(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES)))
    except (OSError, ValueError) as error:
        raise NotFound(
            f"There is no folder {name}, and the hub does not give a model of that name: {error}", hint="Is the machine offline?"
        ) from None


def _preparation(folder: Path) -> tuple[int | None, tuple[float, float, float], tuple[float, float, float]]:
    """Side in px (None where it is not said), mean and standard deviation for values in 0..1."""
    said = _preprocessor(folder)
    sizes = [said.get("crop_size") if said.get("do_center_crop", "crop_size" in said) else None, said.get("size")]
    side = next((found for found in map(_whole, sizes) if found), None)
    # a factor other than 1/255 is the same as another mean and deviation of values in 0..1
    factor = 255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if said.get("do_normalize", True):
        mean, std = (_of_channels(folder, said, key) for key in ("image_mean", "image_std"))
    return side, tuple(m / factor for m in mean), tuple(s / factor for s in std)  # type: ignore[return-value]


def _preprocessor(folder: Path) -> dict[str, Any]:
    try:
        if (folder / "preprocessor_config.json").exists():
            return json.loads((folder / "preprocessor_config.json").read_text())
        if (folder / "processor_config.json").exists():
            return json.loads((folder / "processor_config.json").read_text())["image_processor"]
    except (ValueError, KeyError) as error:
        raise ArtifactError(f"The preparation of pictures in {folder} cannot be read: {error!r}") from None
    raise NotFound(
        "The checkpoint does not say how its pictures are prepared",
        found=str(folder),
        expected="preprocessor_config.json with image_mean, image_std and size",
    )


def _of_channels(folder: Path, said: Mapping[str, Any], key: str) -> tuple[float, ...]:
    values = said.get(key)
    values = [values] * 3 if isinstance(values, int | float) else values
    if not isinstance(values, list) or len(values) != 3 or (key == "image_std" and min(values) <= 0):
        raise ArtifactError(f"{key} of the checkpoint in {folder} is wrong", found=values, expected="three numbers")
    return tuple(map(float, values))


def _whole(size: Any) -> int | None:
    """A side in px out of a number, a pair, or a mapping with height or shortest_edge."""
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    if isinstance(size, list | tuple):
        size = size[0] if size else None
    return int(size) if isinstance(size, int | float) and size > 0 else None


def _packed_side(folder: Path, patch: int | None) -> int | None:
    """The side of a square of as many patches as SigLIP 2 of any proportions reads."""
    patches = _preprocessor(folder).get("max_num_patches")
    return patch * math.isqrt(patches) if patch and patches else None


def _layers_of(model: nn.Module) -> tuple[dict[str, int], int]:
    """The depth of each parameter, and how many there are: the longest list of modules are the layers."""
    lists = [(name, len(part)) for name, part in model.named_modules() if isinstance(part, nn.ModuleList)]
    name, count = max(lists, key=lambda found: found[1], default=("", 0))
    depths, reached = {}, 0
    for parameter, _ in model.named_parameters():
        if count and parameter.startswith(f"{name}."):
            reached = int(parameter.removeprefix(f"{name}.").partition(".")[0]) + 1
        depths[parameter] = count if reached == count else reached
    return depths, count + 1
