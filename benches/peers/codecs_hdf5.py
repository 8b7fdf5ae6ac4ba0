"""The codecs of the comparison. Each stores an array in an open HDF5 file at a bound, and loads it again.

Filters run through HDF5 itself, so each pays for what a user pays for: headers, chunking, checksums. Codecs of single
pictures, which no HDF5 filter offers, are counted by the bytes of their frames alone.
"""
import dataclasses
import importlib.util
import json
from collections.abc import Callable

import hdf5plugin
import numpy as np

import bounds
import common

OURS = "H5Z-SAE"
FAST_EFFORT = f"{OURS}, fast effort"
BUILT_IN = f"{OURS}, built-in model"
BEST_EFFORT = f"{OURS}, best effort"
# Lossless codecs that are also given whole steps, where a bound is allowed.
QUANTISED = ("bitshuffle zstd", "Blosc2 zstd, shuffle", "Blosc2 zstd, bitshuffle", "bzip2", "JPEG XL")


@dataclasses.dataclass(frozen=True)
class Filter:
    """An HDF5 filter. `arguments` gives what h5py's `create_dataset` needs for a Bound.

    `thorough` marks a setting so slow that it gets fewer frames; `prefers_stacks` one that is slow with small chunks,
    and never better: these get fewer frames.
    """

    name: str
    arguments: Callable
    model_bytes: int = 0
    thorough: bool = False
    prefers_stacks: bool = False
    one_frame_only = False

    @property
    def is_ours(self):
        return self.name.startswith(OURS)

    def takes(self, values):
        return True

    def store(self, file, values, chunks, bound):
        file.create_dataset("values", data=self.prepare(values), chunks=chunks, **self.arguments(bound))

    def load(self, file, bound):
        return file["values"][...]

    def stored_bytes(self, file):
        return file["values"].id.get_storage_size()

    def prepare(self, values):
        return values if self.is_ours else without_nan(values)


def without_nan(values):
    """Peers are not made for NaN: they get 0 in its place, and need not store which pixels those are."""
    return np.nan_to_num(values, nan=0.0) if values.dtype.kind == "f" else values


@dataclasses.dataclass(frozen=True)
class FloatFilter(Filter):
    """A filter of floating-point values alone."""

    def takes(self, values):
        return values.dtype.kind == "f"


@dataclasses.dataclass(frozen=True)
class PictureCodec:
    """A codec of single pictures. Values go to it in the first of `dtypes` that holds all of them exactly."""

    name: str
    encode: Callable
    decode: Callable
    dtypes: tuple
    model_bytes = 0
    thorough = False
    is_ours = False
    prefers_stacks = False
    one_frame_only = True

    def fitting_type(self, values):
        """None where no type fits."""
        if values.ndim < 3 or not np.isfinite(values).all():
            return None
        for dtype in self.dtypes:
            with np.errstate(invalid="ignore", over="ignore"):
                if np.array_equal(values.astype(dtype).astype(values.dtype), values):
                    return dtype
        return None

    def takes(self, values):
        return self.fitting_type(values) is not None

    def store(self, file, values, chunks, bound):
        frames = values.astype(self.fitting_type(values))
        group = file.create_group("values")
        group.attrs["dtype"] = values.dtype.str
        for number, frame in enumerate(frames):
            group.create_dataset(f"{number:06}", data=np.frombuffer(self.encode(frame), np.uint8))

    def load(self, file, bound):
        group = file["values"]
        frames = [self.decode(dataset[...].tobytes()) for dataset in group.values()]
        return np.stack(frames).astype(group.attrs["dtype"])

    def stored_bytes(self, file):
        return sum(dataset.size for dataset in file["values"].values())


@dataclasses.dataclass(frozen=True)
class Transformed:
    """A codec that is given something else in place of the values; `made` is what tables call that."""

    inner: object
    model_bytes = 0
    thorough = False
    is_ours = False

    @property
    def name(self):
        return f"{self.made}, {self.inner.name}"

    @property
    def one_frame_only(self):
        return self.inner.one_frame_only

    @property
    def prefers_stacks(self):
        return self.inner.prefers_stacks

    def stored_bytes(self, file):
        return self.inner.stored_bytes(file)


@dataclasses.dataclass(frozen=True)
class Quantised(Transformed):
    """A lossless codec on whole steps of 2 ε, in the smallest integers that hold them; pictures count from the least."""

    made = "quantised"

    def takes(self, values):
        return values.dtype.kind == "f"

    def store(self, file, values, chunks, bound):
        steps = np.rint(without_nan(values).astype(np.float64) / (2 * bound.value)).astype(np.int64)
        zero = int(steps.min()) if self.inner.one_frame_only else 0
        file.attrs.update({"dtype": values.dtype.str, "zero": zero})
        self.inner.store(file, narrowed(steps - zero), chunks, bound)

    def load(self, file, bound):
        steps = self.inner.load(file, bound) + np.int64(file.attrs["zero"])
        return (steps * (2 * bound.value)).astype(file.attrs["dtype"])


@dataclasses.dataclass(frozen=True)
class SquareRoots(Transformed):
    """A codec with an absolute bound, on Anscombe's √(x + 3/8), where the noise of counts is 1/2 everywhere.

    Half of the bound in deviations is asked for there. Below 0 the curve goes on as its tangent.
    """

    made = "square roots"

    def takes(self, values):
        return self.inner.takes(square_roots(values))

    def store(self, file, values, chunks, bound):
        file.attrs["counts"] = values.dtype.str
        self.inner.store(file, square_roots(values), chunks, bounds.half_noise(bound))

    def load(self, file, bound):
        counts = counts_of_roots(self.inner.load(file, bounds.half_noise(bound)))
        dtype = np.dtype(file.attrs["counts"])
        return np.rint(counts).clip(min=0).astype(dtype) if dtype.kind in "iu" else counts.astype(dtype)


ROOT_OF_ZERO = np.sqrt(3 / 8)


def square_roots(values):
    """Of counts, in f32, or f64 where these have more than 32 bits."""
    counts = without_nan(values).astype(np.float64)
    roots = np.sqrt(np.maximum(counts, 0.0) + 3 / 8) + np.minimum(counts, 0.0) / (2 * ROOT_OF_ZERO)
    return roots.astype(np.float32 if values.itemsize <= 4 else np.float64)


def counts_of_roots(roots):
    roots = roots.astype(np.float64)
    return np.where(roots > ROOT_OF_ZERO, roots**2 - 3 / 8, 2 * ROOT_OF_ZERO * (roots - ROOT_OF_ZERO))


def narrowed(integers):
    """The same in the smallest type that holds all of them."""
    least, most = int(integers.min()), int(integers.max())
    return integers.astype(np.min_scalar_type(min(least, -1 - most) if least < 0 else most))


def peers(bound):
    """All peers for a bound. None knows one that is scaled by noise: they get square roots."""
    if bound.noise_scaled:
        return [SquareRoots(codec) for codec in bounded_peers()]
    return bounded_peers() if bound.value else lossless_peers()


def bounded_peers():
    """Codecs with an absolute error bound. SPERR works in three dimensions on a chunk of many frames, in two on one."""
    lossless = {codec.name: codec for codec in lossless_peers()}
    return [
        FloatFilter("SZ3", lambda bound: dict(hdf5plugin.SZ3(absolute=bound.value))),
        FloatFilter("SZ", lambda bound: dict(hdf5plugin.SZ(absolute=bound.value))),
        FloatFilter("SPERR", lambda bound: dict(hdf5plugin.Sperr(absolute=bound.value))),
        FloatFilter("ZFP", lambda bound: dict(hdf5plugin.Zfp(accuracy=bound.value))),
        *(Quantised(lossless[name]) for name in QUANTISED if name in lossless),
    ]


def lossless_peers():
    """What is used today where no error is allowed."""
    blosc2 = hdf5plugin.Blosc2
    settings = {
        "gzip 6": dict(compression="gzip", compression_opts=6),
        "shuffle, gzip 6": dict(compression="gzip", compression_opts=6, shuffle=True),
        "bitshuffle zstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
        "bitshuffle lz4": dict(hdf5plugin.Bitshuffle(cname="lz4")),
        "Blosc2 zstd, shuffle": dict(blosc2(cname="zstd", clevel=9, filters=blosc2.SHUFFLE)),
        "Blosc2 zstd, bitshuffle": dict(blosc2(cname="zstd", clevel=9, filters=blosc2.BITSHUFFLE)),
        "Blosc2 lz4hc, bitshuffle": dict(blosc2(cname="lz4hc", clevel=9, filters=blosc2.BITSHUFFLE)),
        "zstd 19": dict(hdf5plugin.Zstd(clevel=19)),
        "bzip2": dict(hdf5plugin.BZip2(blocksize=9)),
    }
    filters = [Filter(name, lambda _, chosen=chosen: chosen, prefers_stacks=name.startswith("Blosc2 zstd"))
               for name, chosen in settings.items()]
    filters.append(FloatFilter("ZFP reversible", lambda _: dict(hdf5plugin.Zfp(reversible=True))))
    return filters + picture_codecs()


def picture_codecs():
    """Lossless codecs of PyPI's imagecodecs; none where it is not installed."""
    if not importlib.util.find_spec("imagecodecs"):
        return []
    import imagecodecs

    return [
        # Efforts above 7 are ten times slower and, on floats, not smaller.
        PictureCodec("JPEG XL", lambda frame: imagecodecs.jpegxl_encode(frame, lossless=True, effort=7, numthreads=1),
                     imagecodecs.jpegxl_decode, ("u1", "u2", "f4")),
        PictureCodec("JPEG-LS", imagecodecs.jpegls_encode, imagecodecs.jpegls_decode, ("u1", "u2")),
        PictureCodec("JPEG 2000", lambda frame: imagecodecs.jpeg2k_encode(frame, level=0, reversible=True),
                     imagecodecs.jpeg2k_decode, ("u1", "u2", "u4")),
    ]


def filter_arguments(*flags):
    """Filter id and cd_values that `sae filter-args` prints for `flags`."""
    found = json.loads(common.run_sae("filter-args", *flags, "--format", "json"))
    return dict(compression=found["id"], compression_opts=tuple(found["values"]))


def ours(trained, thorough=False):
    """Our filter's settings, by rising effort; the best one only if `thorough`.

    `trained`: (name, path) of models made for the data.
    """
    built_in_bytes = (common.ROOT / "models" / "builtin.sae").stat().st_size

    def setting(name, *flags, **more):
        return Filter(name, lambda bound: filter_arguments(*bound.flags(), *flags), **more)

    best_effort = setting(BEST_EFFORT, "--effort", "best", model_bytes=built_in_bytes, thorough=True)
    return [
        setting(FAST_EFFORT, "--effort", "fast"),
        setting(BUILT_IN, model_bytes=built_in_bytes),
        *(setting(f"{OURS}, {name}", "--model", path, model_bytes=path.stat().st_size) for name, path in trained),
        *([best_effort] if thorough else []),
    ]


def knows_noise_bounds():
    """Whether the built tool has `--noise`."""
    return "--noise" in common.run_sae("filter-args", "--help")
