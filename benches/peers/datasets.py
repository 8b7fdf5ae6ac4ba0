"""The data of the comparison: simulated frames, real ones, and what the codec was not made for. All are reproducible.

A set is made when it is asked for: nothing is simulated or read for sets that are not chosen.
"""
import dataclasses
import functools
import importlib.util
import math
import pathlib
import pydoc_data
import subprocess
import sys
import zlib
from collections.abc import Callable

import h5py
import numpy as np

import bounds
import common

SEED = 2
STACK_LEN = 256
LARGE_BYTES = 1 << 16
# Bits of a Gaussian of deviation σ = ε, in steps of 2 ε.
NOISE_BITS = math.log2(math.sqrt(2 * math.pi * math.e) / 2)


@dataclasses.dataclass(frozen=True)
class DataSet:
    """Values of one kind, their two chunkings, and the bounds that are asked for.

    `floor_bits` holds entropies where they are known: by the bound's name, bits a value of every frame.
    """

    values: np.ndarray
    stack: tuple
    single: tuple
    bounds: tuple
    floor_bits: dict = dataclasses.field(default_factory=dict)

    @property
    def n_frames(self):
        return len(self.values) if self.values.ndim > 1 else 1

    def part(self, n_frames):
        """Some frames, evenly spread."""
        return self.values[self.chosen(n_frames)]

    def floor_ratio(self, bound, n_frames):
        """The ratio of that part that its entropy allows; None where that is unknown."""
        if bound.name not in self.floor_bits:
            return None
        return 8 * self.values.itemsize / float(self.floor_bits[bound.name][self.chosen(n_frames)].mean())

    def chosen(self, n_frames):
        step = self.n_frames // n_frames
        return slice(0, step * n_frames, step) if step > 1 else slice(n_frames if self.values.ndim > 1 else None)


def frames_set(frames, wanted, floor_bits=None):
    """A set of N × rows × columns frames."""
    shape = frames.shape[1:]
    return DataSet(frames, (min(STACK_LEN, len(frames)), *shape), (1, *shape), wanted, floor_bits or {})


def bytes_set(values):
    return DataSet(values, (len(values),), (min(LARGE_BYTES, len(values)),), (bounds.LOSSLESS,))


@dataclasses.dataclass(frozen=True)
class Source:
    """Where frames come from, and how many. A quick source simulates with `sae synth`, which needs no SasView."""

    folder: pathlib.Path
    quick: bool

    @property
    def n_frames(self):
        return 48 if self.quick else 2000

    @property
    def n_disturbed(self):
        return 32 if self.quick else 512

    @property
    def shrink(self):
        """Divisor of the lengths of what is not frames."""
        return 4 if self.quick else 1

    def frames(self, kind, n_frames, *flags):
        """Frames of one set (f32, each of maximum 1), simulated on the first call."""
        name = "-".join([kind, *(flag.strip("-") for flag in flags), f"seed{SEED}-{n_frames}"])
        path = self.folder / f"{name}{'-quick' if self.quick else ''}.h5"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.simulate(path, kind, n_frames, flags)
        with h5py.File(path) as f:
            return f["frames"][...]

    def simulate(self, path, kind, n_frames, flags):
        if self.quick:
            common.run_sae("synth", path, "-n", n_frames, "--set", kind, "--seed", SEED,
                           *(["--centre", "0.3,-0.2"] if flags else []))
            return
        generator = common.ROOT / "benches" / "gen_sas.py"
        words = [sys.executable, generator, path, "-n", n_frames, "--set", kind, "--seed", SEED, *flags]
        subprocess.run([str(word) for word in words], check=True, stdin=subprocess.DEVNULL)


def simulated(source, kind):
    return frames_set(source.frames(kind, source.n_frames), (*bounds.absolute(1e-2, 1e-3, 1e-4), bounds.LOSSLESS))


def some_broad(source):
    """The first of the broad frames, to be disturbed."""
    return source.frames("broad", source.n_frames)[: source.n_disturbed]


def moved(source):
    """The beam's centre moves by less than a pixel, anew in every chunk."""
    frames = source.frames("broad", source.n_disturbed, "--move-centre", str(STACK_LEN))
    return frames_set(frames, bounds.absolute(1e-2, 1e-3, 1e-4))


def masked(source):
    """A beam stop and its holder hide pixels: NaN."""
    frames = some_broad(source).copy()
    n_rows, n_columns = frames.shape[1:]
    rows, columns = np.ogrid[:n_rows, :n_columns]
    middle = (n_rows - 1) / 2, (n_columns - 1) / 2
    disc = np.hypot(rows - middle[0], columns - middle[1]) < n_rows / 14
    holder = (abs(columns - middle[1]) < n_columns / 40) & (rows > middle[0])
    frames[:, disc | holder] = np.nan
    return frames_set(frames, bounds.absolute(1e-2, 1e-3, 1e-4))


def noisy(source, epsilon):
    """Gaussian noise whose standard deviation is the bound."""
    frames = some_broad(source)
    noise = np.random.default_rng(SEED).standard_normal(frames.shape)
    values = (frames + epsilon * noise).astype(np.float32)
    wanted = bounds.absolute(epsilon)
    return frames_set(values, wanted, {wanted[0].name: np.full(len(values), NOISE_BITS)})


def counts(source, brightest):
    """Poisson counts; the frames are their true mean, `brightest` times."""
    mean = some_broad(source).astype(np.float64) * brightest
    values = np.random.default_rng(SEED).poisson(mean).astype(np.uint32)
    return frames_set(values, (bounds.LOSSLESS, bounds.NOISE_SCALED), {bounds.LOSSLESS.name: poisson_bits(mean)})


def poisson_bits(means):
    """Entropy in bits of Poisson variables, averaged over each frame of an array of means.

    A table is interpolated: entropy is smooth in the mean, and there are millions of them.
    """
    knots = np.concatenate([[0.0], np.geomspace(1e-9, max(float(means.max()), 1e-8), 400)])
    bits = np.interp(means, knots, [poisson_entropy(mean) for mean in knots])
    return bits.reshape(len(means), -1).mean(axis=1)


def poisson_entropy(mean):
    if mean == 0:
        return 0.0
    k = np.arange(int(mean + 12 * math.sqrt(mean) + 30))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(k[1:]))])
    log_p = k * math.log(mean) - mean - log_factorial
    return float(-(np.exp(log_p) * log_p).sum() / math.log(2))


def real(source, file, dataset):
    """One measured frame of PyPI's sasdata."""
    folder = pathlib.Path(importlib.util.find_spec("sasdata").submodule_search_locations[0])
    with h5py.File(folder / "example_data" / "2d_data" / file) as f:
        frame = f[dataset][...][:: source.shrink, :: source.shrink]
    wanted = (*bounds.of_range(float(np.ptp(frame)), 1e-3, 1e-4), bounds.LOSSLESS, bounds.NOISE_SCALED)
    return frames_set(frame[np.newaxis], wanted)


def spectral_field(shape, slope, rng):
    """Gaussian random field whose amplitudes fall with the wave number as k^-slope; f64, of unit variance."""
    waves = np.meshgrid(*(np.fft.fftfreq(n) * n for n in shape), indexing="ij")
    k = np.sqrt(sum(wave**2 for wave in waves))
    k[(0,) * len(shape)] = 1.0
    field = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) * k**-slope).real
    return (field - field.mean()) / field.std()


def layered(values):
    """A field that is no stack of frames: chunks of 16 layers, or of one."""
    shape = values.shape[1:]
    return DataSet(values, (16, *shape), (1, *shape), (bounds.LOSSLESS,))


def smooth_values(source):
    shape = (64, 128 // source.shrink, 128 // source.shrink)
    return spectral_field(shape, 4.0, np.random.default_rng(SEED)).astype(np.float32)


def smooth(source):
    return layered(smooth_values(source))


def climate(source):
    """Daily temperatures in kelvin on a grid of latitude and longitude: season, height and weather; f32."""
    rng = np.random.default_rng(SEED)
    n_days, n_rows, n_columns = 128 // source.shrink, 90 // source.shrink, 180 // source.shrink
    latitude = np.radians(np.linspace(-89, 89, n_rows))
    zonal = 250 + 50 * np.cos(latitude) ** 2
    season = -12 * np.cos(2 * np.pi * np.arange(n_days) / 365)[:, None] * np.sin(latitude)
    height = np.abs(spectral_field((n_rows, n_columns), 1.8, rng))
    weather = spectral_field((n_days, n_rows, n_columns), 2.5, rng)
    return layered(((zonal + season)[:, :, None] - 6.5 * height + 3 * weather).astype(np.float32))


def noise(source):
    shape = (256 // source.shrink**2, 64, 64)
    return frames_set(np.random.default_rng(SEED).standard_normal(shape).astype(np.float32), (bounds.LOSSLESS,))


def text(source):
    """English: the help texts of Python's standard library."""
    path = pathlib.Path(pydoc_data.__file__).parent / "topics.py"
    values = np.frombuffer(path.read_bytes(), np.uint8)
    return bytes_set(values[: len(values) // source.shrink**2])


def compressed(source):
    return bytes_set(np.frombuffer(zlib.compress(smooth_values(source).tobytes(), 9), np.uint8)[: 1 << 20])


@dataclasses.dataclass(frozen=True)
class Spec:
    """A set by name: which table it belongs to, what the table calls it, how it is made from a Source."""

    name: str
    group: str
    title: str
    make: Callable


SPECS = {spec.name: spec for spec in (
    Spec("broad", "simulated", "broad", lambda source: simulated(source, "broad")),
    Spec("narrow", "simulated", "narrow", lambda source: simulated(source, "narrow")),
    Spec("broad-moved", "disturbed", "broad, centre moved per chunk", moved),
    Spec("broad-masked", "disturbed", "broad, beam stop of NaN", masked),
    Spec("broad-noisy-2", "disturbed", "broad, noise of σ = 0.01", lambda source: noisy(source, 1e-2)),
    Spec("broad-noisy-3", "disturbed", "broad, noise of σ = 0.001", lambda source: noisy(source, 1e-3)),
    Spec("counts-10", "counts", "counts, 10 at the brightest", lambda source: counts(source, 10)),
    Spec("counts-1000", "counts", "counts, 1000 at the brightest", lambda source: counts(source, 1000)),
    Spec("bam", "real", "BAM_2D, X-rays",
         functools.partial(real, file="BAM_2D.h5", dataset="sasentry01/data/I")),
    Spec("33837rear", "real", "33837rear, neutrons",
         functools.partial(real, file="33837rear_2D_1.75_16.5_NXcanSAS.h5", dataset="sasentry01/sasdata/I")),
    Spec("14250", "real", "14250, neutrons",
         functools.partial(real, file="14250_2D_NoDetInfo_NXcanSAS_v3.h5", dataset="sasentry01/sasdata/I")),
    Spec("smooth", "other", "smooth 3-D field", smooth),
    Spec("climate", "other", "climate-like field", climate),
    Spec("noise", "other", "random noise", noise),
    Spec("text", "other", "text, bytes", text),
    Spec("compressed", "other", "compressed bytes", compressed),
)}
