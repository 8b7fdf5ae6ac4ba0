"""k-nearest neighbours on latents against pixels: whether what is stored still says what is what.

Latents are those that a file of the bound *none* holds: quantised at the model's step, scaled by each frame's largest
value. A frame's class is the majority of its k nearest neighbours' by Euclidean distance, after every vector was
scaled to unit length, or not; both are reported. Nets never see the test frames.
"""
import h5py
import numpy as np
from h5z_sae import Model

import common
import data
import nets

NEIGHBOURS = (1, 5)
# One third of the digits is for testing, as they come shuffled by this seed.
DIGITS_SEED, DIGITS_TEST_SHARE = 1, 1 / 3
BROAD_SEEDS = (3, 4)


def measure(folder, threads, quick, has_digits):
    """Rows of all data sets and representations."""
    rows = []
    if has_digits:
        rows += digits_rows(folder, threads, quick)
    return rows + family_rows(folder, quick)


def digits_rows(folder, threads, quick):
    """scikit-learn's 1797 digits of 8 × 8 pixels: nets for penalty z and ∇z, overcomplete (ℓ = 4n)."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    frames = (digits.images / 16).astype(np.float32)
    order = np.random.default_rng(DIGITS_SEED).permutation(len(frames))
    n_test = round(len(frames) * DIGITS_TEST_SHARE)
    test, training = order[:n_test], order[n_test:]
    path = folder / "digits-training.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", data=frames[training], chunks=(64, 8, 8))
    split = Split("digits", frames[training], digits.target[training], frames[test], digits.target[test])
    rows = split.rows("pixels", "", split.training, split.test)
    more = ("--batch", "50", "--held-out", "0")
    epochs = 5 if quick else 400
    for net in (nets.Net("digits-z", "z", 1e-4, 12, epochs, 48, 128, 256, more),
                nets.Net("digits-grad", "grad", 1e-2, 0, epochs, 48, 128, 256, more)):
        model = Model.read(nets.train(net, path, folder, threads)[0])
        rows += split.latent_rows(net.name, model)
    return rows


def family_rows(folder, quick):
    """Simulated frames of eight particle families: the built-in model, which was trained on other such frames."""
    sizes = (400, 200) if quick else (16_000, 4000)
    parts = []
    for n_frames, seed in zip(sizes, BROAD_SEEDS, strict=True):
        with h5py.File(data.synthesize(folder, "broad", n_frames, seed)) as file:
            parts += [file["frames"][...], file["family"][...]]
    split = Split("families", *parts)
    rows = split.rows("pixels", "", split.training, split.test)
    return rows + split.latent_rows("built-in", Model.read(common.ROOT / "models" / "builtin.sae"))


class Split:
    """Training and test frames of one data set, with their classes."""

    def __init__(self, name, training, training_classes, test, test_classes):
        self.name = name
        self.training, self.training_classes = training, training_classes
        self.test, self.test_classes = test, test_classes

    def latent_rows(self, net, model):
        """Rows for z and, where it is what the model codes, for ∇z."""
        z, steps = zip(*(latents_of(model, frames) for frames in (self.training, self.test)), strict=True)
        rows = self.rows("z", net, *z)
        return rows + self.rows("grad z", net, *steps) if model.penalty == "grad" else rows

    def rows(self, space, net, training, test):
        """One row for each way to compare vectors and each number of neighbours."""
        training, test = training.reshape(len(training), -1), test.reshape(len(test), -1)
        found = []
        for scaling in ("as they are", "unit length"):
            accuracies = classify(*(unit_length(x) if scaling == "unit length" else x for x in (training, test)),
                                  self.training_classes, self.test_classes)
            found += [{
                "set": self.name, "space": space, "net": net, "dimensions": training.shape[1],
                "nonzeros": round(np.count_nonzero(test) / len(test), 2), "training": len(training),
                "test": len(test), "vectors": scaling, "neighbours": k, "accuracy": round(accuracy, 4),
            } for k, accuracy in accuracies.items()]
        return found


def latents_of(model, frames):
    """z and what the levels stand for (z again, or ∇z), as a file holds them: B × ℓ each."""
    largest = np.abs(frames).max(axis=(1, 2), keepdims=True)
    levels = model.quantize(model.encode(frames / np.where(largest > 0, largest, 1)), model.none_step_log2)
    step = np.float32(2.0**-model.none_step_log2)
    z = np.cumsum(levels, axis=1) if model.penalty == "grad" else levels
    return z * step, levels * step


def unit_length(vectors):
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)


def classify(training, test, training_classes, test_classes):
    """Accuracy by number of neighbours; of classes with equal votes the one with the nearest neighbour wins."""
    right = dict.fromkeys(NEIGHBOURS, 0)
    n_classes = int(max(training_classes.max(), test_classes.max())) + 1
    squares = np.square(training).sum(axis=1)
    for start in range(0, len(test), 500):
        block = slice(start, start + 500)
        distances = squares - 2 * test[block] @ training.T
        nearest = np.argpartition(distances, max(NEIGHBOURS) - 1, axis=1)[:, : max(NEIGHBOURS)]
        order = np.argsort(np.take_along_axis(distances, nearest, axis=1), axis=1)
        classes = training_classes[np.take_along_axis(nearest, order, axis=1)]
        for k in NEIGHBOURS:
            votes = np.zeros((len(classes), n_classes))
            for rank in range(k):
                votes[np.arange(len(classes)), classes[:, rank]] += 1 + (0.5 if rank == 0 else 0)
            right[k] += int((votes.argmax(axis=1) == test_classes[block]).sum())
    return {k: count / len(test) for k, count in right.items()}
