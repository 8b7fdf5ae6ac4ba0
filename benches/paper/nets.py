"""The nets of the sweep, and their training by `sae train`."""
import dataclasses
import json
import resource
import sys
import time

import common

TRAINING_SEED, TEST_SEED = 1, 2


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How many frames are used for what. `n_steps`: for the sweep of latent steps; `n_repack`: for real bytes."""

    n_training: int
    n_test: int
    n_steps: int
    n_repack: int
    pixels: int = 64


@dataclasses.dataclass(frozen=True)
class Net:
    """One training. `active` 0 sets no limit, so that λ alone makes latents sparse."""

    name: str
    penalty: str
    sparsity_lambda: float
    active: int
    epochs: float
    components: int = 256
    hidden: int = 256
    latents: int = 1024
    more: tuple[str, ...] = ()

    def flags(self):
        """Of `sae train`, but for data, output and threads."""
        words = ["--components", self.components, "--hidden", self.hidden, "--latent", self.latents, "--penalty",
                 self.penalty, "--lambda", self.sparsity_lambda, "--epochs", self.epochs, "--seed", 1, *self.more]
        words += ["--active", self.active]
        return [str(word) for word in words]


FULL_SIZES = Sizes(n_training=50_000, n_test=150_000, n_steps=8192, n_repack=8192)
QUICK_SIZES = Sizes(n_training=600, n_test=1000, n_steps=300, n_repack=256, pixels=32)


def tiny(name, penalty, sparsity_lambda, active):
    return Net(name, penalty, sparsity_lambda, active, 3, 16, 24, 48, ("--batch", "50"))


QUICK = [tiny("z-8", "z", 1e-6, 8), tiny("z-free", "z", 1e-2, 0), tiny("grad", "grad", 1e-2, 0)]

# Batches of 200: at equal passes they left 0.016 of squared error where 500 left 0.027, and reviving dead latents
# did not help (benches/record/2026-11-24-paper-batches.csv).
COMMON = ("--batch", "200", "--held-out", "0.005")


def sweep(penalty, prefix, lambdas, epochs):
    """Nets that λ alone makes sparse."""
    return [Net(f"{prefix}-{sparsity_lambda:g}", penalty, sparsity_lambda, 0, epochs, more=COMMON)
            for sparsity_lambda in lambdas]


FULL = [
    Net("z-8", "z", 1e-6, 8, 10, more=COMMON),
    Net("z-18", "z", 1e-6, 18, 60, hidden=512, more=COMMON),
    Net("z-18-wide", "z", 1e-6, 18, 5, latents=8192, more=COMMON),
    *sweep("z", "z-free", (1e-2, 3e-2, 1e-1), 8),
    *sweep("grad", "grad", (1e-2, 3e-2, 1e-1), 8),
    Net("grad-long", "grad", 5e-2, 0, 40, hidden=512, more=COMMON),
]


def train(net, training, folder, threads):
    """Trains unless the folder has this very model; the path of the model and `sae train`'s report."""
    path, report_path = folder / f"{net.name}.sae", folder / f"{net.name}.json"
    if path.exists() and report_path.exists():
        report = json.loads(report_path.read_text())
        if report["flags"] == net.flags():
            return path, report
    started, cpu = time.perf_counter(), cpu_seconds()
    print(f"training {net.name}: sae train {' '.join(net.flags())}", file=sys.stderr, flush=True)
    printed = common.run_sae("train", f"{training}:/frames", "-o", path, *net.flags(), "--threads", threads, "--json")
    report = json.loads(printed.splitlines()[-1])
    report |= {"flags": net.flags(), "seconds": time.perf_counter() - started, "cpu_seconds": cpu_seconds() - cpu}
    common.replace_text(report_path, json.dumps(report, indent=1))
    return path, report


def cpu_seconds():
    """Of all programs that this process has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
