"""What a `.sae` file holds, and what is computed with it. docs/format.md, "Model file" and "Network".

Sizes, as everywhere: n values of a patch, n' stored columns (⌈n/2⌉ for a point-symmetric model, else n), m hidden
units, ℓ latents, K basis rows. A batch of B patches is an array of B rows.

    model = Model.read("mine.sae")
    latents = model.encode(frames)                            B × ℓ, float, from 0
    levels = model.quantize(latents, model.none_step_log2)    B × ℓ, integers, as a stream holds them
    values = model.decode_levels(levels, model.none_step_log2)      B × rows × columns in Q30, exact
"""
import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from . import checks, container, exact, floats
from .checks import ModelError

__all__ = ["Decoder", "Encoder", "Model", "ModelError", "Priors"]

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Decoder:
    """The exact half: integer layers from levels to a patch."""

    latent_frac_bits: int
    hidden: Array
    """ℓ × m, int8 or int16."""
    hidden_bias: Array
    """m, int32."""
    hidden_shift: int
    hidden_bits: int
    coef: Array | None
    """m × K' with K' ≤ K, int8 or int16: the rest of the basis serves linear atoms. None where it is the identity,
    then m = K = K'."""
    coef_bias: Array
    """K, int32."""
    coef_shift: Array
    """K, uint8."""
    coef_frac_bits: Array
    """K, uint8: fraction bits of the coefficients."""
    coef_bits: int
    basis: tuple[Array, ...]
    """Blocks of rows × n', int8 or int16 each; K rows together."""
    mean: Array
    """n', int64, in units of 2^-output_frac_bits."""
    output_frac_bits: int


@dataclasses.dataclass(frozen=True, eq=False)
class Encoder:
    """The float half: from a patch to latents."""

    input: Array
    """K × m, or n × m where `direct`; float16, as all of these."""
    input_bias: Array
    """m."""
    latent: Array
    """m × ℓ."""
    latent_bias: Array
    """ℓ."""
    direct: bool
    """The first layer takes T(x) itself, not its inner products with the basis."""


@dataclasses.dataclass(frozen=True, eq=False)
class Priors:
    """What the entropy coder is told about levels before it has seen any."""

    fire: Array
    """ℓ, uint16, from 1: how often a level is not 0, in 1/65536."""
    weight_scale: Array
    """ℓ, int8: 4·log2 of a latent's mean magnitude where it is not 0."""
    linear_scale: Array
    """K, int8: 4·log2 of a linear coefficient's root mean square, beside latents."""
    linear_only_scale: Array
    """K, int8: the same without latents."""


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """Everything that a model file holds. Checked when it is read, and before it is written."""

    patch: tuple[int, int]
    """Rows and columns."""
    point_symmetric: bool
    transform: str
    """none, sqrt or log."""
    transform_offset_q24: int
    penalty: str
    """z or grad: whether levels are latents, or steps of a running sum."""
    sparsity_lambda: float
    active: int
    """Latents that an encoder keeps, the largest; 0 keeps all."""
    none_step_log2: int
    """log2 of the inverse latent step of the bound *none*."""
    decoder: Decoder
    encoder: Encoder
    priors: Priors
    provenance: dict[str, str] = dataclasses.field(default_factory=dict)

    # Sizes.

    @property
    def n_values(self) -> int:
        """n."""
        return self.patch[0] * self.patch[1]

    @property
    def n_stored(self) -> int:
        """n'."""
        return (self.n_values + 1) // 2 if self.point_symmetric else self.n_values

    @property
    def n_hidden(self) -> int:
        """m."""
        return int(self.decoder.hidden.shape[1])

    @property
    def n_latents(self) -> int:
        """ℓ."""
        return int(self.decoder.hidden.shape[0])

    @property
    def n_linear(self) -> int:
        """K."""
        return len(self.decoder.coef_bias)

    @property
    def n_coefs(self) -> int:
        """K', leading rows of the basis that the network speaks through and listens to."""
        return self.n_linear if self.decoder.coef is None else int(self.decoder.coef.shape[1])

    # Files.

    @classmethod
    def parse(cls, data: bytes, name: str = "model file") -> "Model":
        """A model from the bytes of a file; `name` stands in messages. Raises ModelError."""
        model = container.parse(data, name)
        checks.check(model, name)
        return model

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Model":
        """A model from a file. Raises ModelError, and OSError where the file cannot be read."""
        return cls.parse(pathlib.Path(path).read_bytes(), str(path))

    def to_bytes(self) -> bytes:
        """The file's bytes; equal models give equal bytes. Raises ModelError where a rule is broken."""
        checks.check(self, "model")
        return container.to_bytes(self)

    def write(self, path: str | os.PathLike[str]) -> str:
        """Writes the file, which appears only when it is complete. Returns its id."""
        data = self.to_bytes()
        path = pathlib.Path(path)
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(data)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return file_id(data)

    # Numbers.

    def transform_patches(self, patches: Array) -> Array:
        """T of values over the patch's scale (largest 1): B × rows × columns or B × n to B × n, float32."""
        rows = np.asarray(patches, np.float32).reshape(len(patches), -1)
        if rows.shape[1] != self.n_values:
            raise ModelError(f"patches of {rows.shape[1]} values: the model's have {self.n_values}")
        return floats.transform(rows, self.transform, self.transform_offset_q24)

    def encode(self, patches: Array) -> Array:
        """Latents of patches whose largest value is 1: B × ℓ, float32, from 0.

        For penalty z all but the `active` largest are 0; for grad all are there, as `quantize` chooses the steps.
        """
        return floats.encode(self, self.transform_patches(patches))

    def quantize(self, latents: Array, step_log2: int, dead_zone: float = 0.6) -> Array:
        """Levels (B × ℓ, int32) of latents in steps of 2^-step_log2; what is within `dead_zone` steps of 0 becomes 0.

        For penalty grad levels are steps of a running sum, made where the latent is `dead_zone` steps away from it.
        0.6 is what the filter's encoder uses; 0.5 rounds to the nearest.
        """
        return floats.quantize(latents, step_log2, dead_zone, self.penalty == "grad",
                               self.decoder.latent_frac_bits)

    def decode(self, latents: Array) -> Array:
        """Patches of real latents z (B × ℓ; for penalty grad the running sums): B × rows × columns, float32."""
        outputs = floats.decode(self, np.asarray(latents, np.float32))
        values = floats.inverse_transform(outputs, self.transform, self.transform_offset_q24)
        return values.reshape(-1, *self.patch)

    def decode_levels(self, levels: Array, step_log2: int, linear_levels: Array | None = None,
                      linear_step_quarters: int = 0) -> Array:
        """Patches of levels, exactly as every reader of a file gets them: B × rows × columns, int32 in Q30.

        `levels`: B × ℓ; `linear_levels`: B × K or None, in steps of 2^-(linear_step_quarters / 4). Raises ModelError where a latent reaches 2^24.
        """
        return exact.decode(self, levels, step_log2, linear_levels, linear_step_quarters)

    def float_basis(self) -> Array:
        """The basis in real units, all blocks together: K × n', float32."""
        units = np.exp2(self.decoder.coef_frac_bits.astype(np.float64) - self.decoder.output_frac_bits)
        return (np.concatenate(self.decoder.basis) * units[:, None]).astype(np.float32)

    def unfold(self, stored: Array) -> Array:
        """Rows of n' stored columns as rows of n values."""
        if not self.point_symmetric:
            return stored
        mirrored = stored[:, : self.n_values - self.n_stored]
        return np.concatenate([stored, mirrored[:, ::-1]], axis=1)


def file_id(data: bytes) -> str:
    """A model's id: the first 64 bits of its file's SHA-256, as sixteen hex digits."""
    return hashlib.sha256(data).hexdigest()[:16]
