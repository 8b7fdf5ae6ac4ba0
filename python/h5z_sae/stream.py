"""Latents straight from a compressed chunk: docs/format.md, from "Header" to "Atoms", read in Python.

Only what stands before the pixels is decoded: methods, scales and levels of all patches. That is enough to compute
with latents (neighbours, classes, interpolation) without decoding a frame, and slow: some milliseconds a patch.

    chunk = read_chunk(dataset.id.read_direct_chunk((0, 0, 0))[1], model)
    latents = chunk.latents()
"""
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import ModelError
from .entropy import BodyReader, adaptive_bits, signed
from .exact import EIGHTH_OCTAVES
from .fields import ByteReader
from .initial import linear_levels
from .mixing import Mixer

if TYPE_CHECKING:
    from .model import Model

CONSTANT, GRID, ALIGNED, NETWORK, LOSSLESS = range(5)
GO_ON = (61565, 59992, 57835, 54917, 51039, 46019, 39750, 32314, 24109, 15933, 8869, 3874, 1200, 229, 22, 1, 1)
NONZERO = (
    1, 1, 1, 1, 1, 22, 229, 1200, 3874, 8870, 15933, 24110, 32314, 39750, 46019, 51040, 54917, 57835, 59992, 61565,
    62703, 63520, 64104, 64520, 64816, 65026, 65175, 65281, 65355, 65408, 65446, 65472, 65491, 65504, 65513,
)

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a coded payload says before its bodies, as far as headers and the network need it."""

    shape: tuple[int, ...]
    latents_only: bool
    fraction_bits: int
    step: float | None
    lowest: int
    highest: int
    patch: tuple[int, int]
    mantissa: int = 0
    shift: int = 0
    latent_step: int = 0
    linear_step: int = 0
    header_body: bytes = b""
    pixel_body_bytes: int = 0

    @property
    def layout(self) -> tuple[int, int, int]:
        """Frames, rows and columns as the coder sees them."""
        rows, cols = (1, self.shape[0]) if len(self.shape) == 1 else self.shape[-2:]
        frames = int(np.prod(self.shape)) // (rows * cols)
        return (1, frames, rows * cols) if rows * cols < 64 and frames > 1 else (frames, rows, cols)


@dataclasses.dataclass(frozen=True)
class PatchHeader:
    """Method of one patch and, where it is NETWORK, its scale, steps and nonzero levels by atom."""

    method: int
    constant: int = 0
    scale: int = 0
    latent_step_log2: int = 0
    linear_step_quarters: int = 0
    latents: dict[int, int] = dataclasses.field(default_factory=dict)
    linear: dict[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Headers of a chunk's patches: frame by frame, in raster order."""

    model: "Model"
    parameters: Parameters
    patches: list[PatchHeader]

    def levels(self) -> Array:
        """B × ℓ, int32; rows of zeros where the network is not used."""
        levels = np.zeros((len(self.patches), self.model.n_latents), np.int32)
        for row, patch in zip(levels, self.patches, strict=True):
            row[list(patch.latents)] = list(patch.latents.values())
        return levels

    def latents(self) -> Array:
        """z of every patch, B × ℓ in real units of the patch's scale (running sums for penalty grad)."""
        steps = np.exp2([-float(patch.latent_step_log2) for patch in self.patches])
        levels = self.levels()
        return (np.cumsum(levels, axis=1) if self.model.penalty == "grad" else levels) * steps[:, None]

    def given(self, index: int) -> Array:
        """Positions that the network gives a patch, rows × columns, int64: "Given positions"."""
        patch, parameters = self.patches[index], self.parameters
        if patch.method != NETWORK:
            raise ModelError(f"patch {index} has method {patch.method}: {NETWORK}, network, expected")
        linear = np.zeros((1, self.model.n_linear), np.int64)
        linear[0, list(patch.linear)] = list(patch.linear.values())
        values = self.model.decode_levels(self.levels()[index:index + 1], patch.latent_step_log2, linear,
                                          patch.linear_step_quarters)[0].astype(np.int64)
        a = (parameters.mantissa * EIGHTH_OCTAVES[patch.scale % 8]) >> 16
        b = parameters.shift - patch.scale // 8
        if not 0 <= b <= 62:
            raise ModelError(f"scale {patch.scale} needs a shift of {b}: 0 to 62 allowed")
        position = (values * a + ((1 << b) >> 1)) >> b
        fine = parameters.fraction_bits
        return np.asarray(np.clip(position, parameters.lowest << fine, parameters.highest << fine))


def read_chunk(stream: bytes, model: "Model") -> Chunk:
    """Headers of all patches of a coded stream. Raises ModelError for other payloads, and for what is corrupt."""
    parameters = read_parameters(stream)
    if parameters.mantissa and parameters.patch != model.patch:
        raise ModelError(f"patches of {parameters.patch}: the model's are {model.patch}")
    frames, rows, cols = parameters.layout
    across = -(-cols // parameters.patch[1])
    n_patches = across * -(-rows // parameters.patch[0])
    reader = HeaderReader(model, parameters)
    before: list[PatchHeader | None] = [None] * n_patches
    patches: list[PatchHeader] = []
    for _ in range(frames):
        frame: list[PatchHeader] = []
        for index in range(n_patches):
            left = frame[-1] if index % across else None
            frame.append(reader.patch(left, before[index]))
            if reader.body.is_overrun:
                n_bytes = len(parameters.header_body)
                raise ModelError(f"stream: {n_bytes} bytes of headers end in frame {len(patches) // n_patches}")
        before = list(frame)
        patches += frame
    return Chunk(model, parameters, patches)


def read_parameters(stream: bytes) -> Parameters:
    """Header and parameters of a coded stream; what its checksums say is left to the filter."""
    reader = ByteReader(stream)
    magic, kinds, element = reader.take(2), reader.integer(1), reader.integer(1)
    if magic != b"\x89S" or kinds & 15 != 0:
        raise ModelError("stream: not of h5z-sae, or of another version")
    if kinds >> 4 != 2:
        raise ModelError(f"stream: payload of kind {kinds >> 4} has no patches, 2 (coded) expected")
    bound_kind = element >> 5
    if bound_kind in (1, 2, 3):
        reader.varint(), reader.svarint()
    if bound_kind:
        reader.take(2)
    rank = reader.integer(1)
    reader.take((0, 2, 8, 0)[rank >> 6])
    rank &= 63
    shape = tuple(reader.varint() for _ in range(rank))
    if not 1 <= rank <= 32 or not all(1 <= length < 1 << 32 for length in shape):
        raise ModelError(f"stream: dimensions {list(shape)}: 1 to 32 of 1 to 2^32 - 1 allowed")
    reader.take(6)
    return read_payload(reader, shape, 1 << (element >> 2 & 3))


def read_payload(reader: ByteReader, shape: tuple[int, ...], element_bytes: int) -> Parameters:
    """The parameters of "Coded payload"."""
    flags, fraction_bits = reader.take(2)
    fraction_bits &= 31
    step = None
    if not flags & 16:
        step = float(np.frombuffer(bytes(5) + reader.take(3), "<f8")[0])
        # A sign bit says that a number of decimals stands here.
        step = None if step < 0 else step
    lowest, highest = reader.svarint(), reader.svarint()
    _, rows, cols = Parameters(shape, False, 0, None, 0, 0, (1, 1)).layout
    patch = (min(64, rows), min(64, cols)) if rows > 1 else (1, min(4096, cols))
    if not flags & 32:
        patch = (reader.varint(), reader.varint())
        if not (1 <= patch[0] <= rows and 1 <= patch[1] <= cols):
            raise ModelError(f"stream: patches of {patch[0]} x {patch[1]} in frames of {rows} x {cols}")
    if flags & 2 and not flags & 64:
        reader.svarint(), reader.svarint()
    if flags & 1:
        reader.take(reader.integer(1) * element_bytes)
    network = {}
    if flags & 4:
        network = {"mantissa": reader.integer(2), "shift": reader.integer(1, True),
                   "latent_step": reader.integer(1, True), "linear_step": reader.integer(1, True)}
    header_body = reader.take(reader.varint())
    return Parameters(shape, bool(flags & 8), fraction_bits, step, lowest, highest, patch, **network,
                      header_body=header_body, pixel_body_bytes=len(reader.data) - reader.at)


class HeaderReader:
    """Adaptive state of the patch headers of a chunk: "Patch headers" and "Atoms"."""

    def __init__(self, model: "Model", parameters: Parameters) -> None:
        self.model, self.parameters = model, parameters
        self.body = BodyReader(parameters.header_body)
        self.methods = [adaptive_bits(8) for _ in range(36)]
        self.constants, self.constant = adaptive_bits(20), 0
        self.scales, self.scale = adaptive_bits(20), 0
        self.kinds, self.previous_kinds = adaptive_bits(8), 0
        self.linear_changes = adaptive_bits(20)
        self.fire = [[int(p) << 6, 60] for p in model.priors.fire]
        self.sign = adaptive_bits(1)[0]
        self.latent_levels = [go_on_bits(m) for m in range(48)]
        self.linear_levels = LinearReader(self.body, model.n_linear)

    def patch(self, left: PatchHeader | None, before: PatchHeader | None) -> PatchHeader:
        """The next patch; `left` and `before` are its neighbours in the frame and in time."""
        context = 6 * (5 if left is None else left.method) + (5 if before is None else before.method)
        method = self.body.symbol(self.methods[context], 3)
        if method == CONSTANT:
            self.constant += signed(self.body.exp_golomb(self.constants))
            return PatchHeader(method, self.constant)
        if method == NETWORK:
            return self.network()
        if method > LOSSLESS:
            raise ModelError(f"stream: a patch has the reserved method {method}")
        return PatchHeader(method)

    def network(self) -> PatchHeader:
        """Scale, kinds of atoms, levels."""
        self.scale += signed(self.body.exp_golomb(self.scales))
        if abs(self.scale) > 1024:
            raise ModelError(f"stream: a patch has scale {self.scale}: within 1024 of 0 allowed")
        pair = 2 * self.previous_kinds
        has_latents = self.body.adaptive(self.kinds[pair])
        has_linear = self.body.adaptive(self.kinds[pair + 1])
        self.previous_kinds = has_latents + 2 * has_linear
        decoder, priors = self.model.decoder, self.model.priors
        t = min(max(self.parameters.latent_step + self.scale // 8, 0), decoder.latent_frac_bits)
        latents = self.latents(t) if has_latents else {}
        u, linear = 0, {}
        if has_linear:
            change = min(max(signed(self.body.exp_golomb(self.linear_changes)), -(1 << 31)), (1 << 31) - 1)
            wanted = self.parameters.linear_step + self.scale // 2 + change
            u = min(max(wanted, 0), 4 * int(decoder.coef_frac_bits.min()))
            linear = self.linear_levels.patch(priors.linear_scale if has_latents else priors.linear_only_scale, u)
        return PatchHeader(NETWORK, 0, self.scale, t, u, latents, linear)

    def latents(self, t: int) -> dict[int, int]:
        """Levels of the latents whose level is not 0."""
        levels = {}
        for atom, fire in enumerate(self.fire):
            if not self.body.adaptive(fire):
                continue
            negative = self.model.penalty == "grad" and self.body.adaptive(self.sign)
            expected = int(self.model.priors.weight_scale[atom]) + 4 * t
            magnitude = self.magnitude(self.latent_levels[min(max(int(expected / 2), 0), 47)])
            levels[atom] = -magnitude if negative else magnitude
        return levels

    def magnitude(self, decisions: list[list[int]]) -> int:
        """|level| from 1."""
        return 1 + min((1 << 24) - 2, self.body.exp_golomb(decisions))


class LinearReader:
    """Levels of linear atoms over the patches of a chunk: "Linear levels"."""

    def __init__(self, body: BodyReader, n_atoms: int) -> None:
        self.body, self.before = body, [0] * n_atoms
        self.sizes = (35 * 22, n_atoms, 35 * 32, 35 * 32, 32 * 22)
        self.mixer = Mixer(linear_levels(), n_sets=88, first_weight=13107, learning_shift=14)

    def patch(self, sizes: Array, u: int) -> dict[int, int]:
        """Levels of one patch that are not 0."""
        levels, seen, last = {}, [0] * 16, (0, 0)
        for atom, size in enumerate(sizes):
            x = (int(size) + u) // 2
            if x < -12:
                continue
            x = min(x, 22)
            activity, near = half_octaves(sum(seen), 22), half_octaves((2 * last[0] + last[1]) // 2, 32)
            place, before = x + 12, half_octaves(self.before[atom], 32)
            contexts = [22 * place + activity, atom, 32 * place + near, 32 * place + before, 22 * near + activity]
            level = self.level(contexts, min(3, activity // 6), x)
            now, y = 0, max(x, -4)
            if level:
                levels[atom] = level
                now = min(65536, 16 * abs(level) >> (y // 2) if y >= 0 else abs(level) << (4 + -y // 2))
            self.before[atom] = seen[atom % 16] = now
            last = (now, last[0])
        return levels

    def level(self, contexts: list[int], group: int, x: int) -> int:
        """One level; `x` is its expected size in half octaves of the step."""
        def decide(decision: int, prior: int) -> int:
            entries = [size * decision + context for size, context in zip(self.sizes, contexts, strict=True)]
            return self.mixer.decide(self.body, entries, 22 * group + decision, (prior, 6))

        if not decide(0, NONZERO[x + 12]):
            return 0
        negative, size, magnitude = self.body.bits(1), 0, 1
        while size < 24 and decide(min(1 + size, 13), GO_ON[min(max(2 * size + 2 - x, -8), 8) + 8]):
            size += 1
        if size:
            second = decide(13 + min(size, 8), 28000)
            magnitude = min((1 << 24) - 1, (2 + second) << (size - 1) | self.body.bits(size - 1))
        return -magnitude if negative else magnitude


def half_octaves(value: int, count: int) -> int:
    """0, then a bucket for each half octave, `count` in all."""
    if value == 0:
        return 0
    octave = value.bit_length() - 1
    return min(count - 1, 1 + 2 * octave + (value >> (octave - 1) & 1 if octave else 0))


def go_on_bits(expected: int) -> list[list[int]]:
    """Decisions of magnitudes whose mean is `expected` half octaves of a step."""
    return [[GO_ON[min(max(2 * c + 2 - expected, -8), 8) + 8] << 6, 6] for c in range(20)]
