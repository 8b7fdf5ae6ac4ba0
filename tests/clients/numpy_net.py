"""A five-layer network trained with numpy alone, as a state dict that torch would save: for tests of the converter."""
import numpy as np

N_BATCH, LEARNING_RATE, BETA_1, BETA_2 = 100, 3e-3, 0.9, 0.99


def random_state(sizes, rng):
    """He-initialised weights (outputs × inputs) and zero biases of Linear layers."""
    names = ("encoder.0", "encoder.2", "decoder.0", "decoder.2")
    state = {}
    for name, inputs, outputs in zip(names, sizes[:-1], sizes[1:], strict=True):
        state[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs)).astype(np.float32)
        state[f"{name}.bias"] = np.zeros(outputs, np.float32)
    return state


def forward(state, x):
    """Activations of all layers: x, hidden, latents, hidden, reconstruction."""
    activations = [x]
    for name in ("encoder.0", "encoder.2", "decoder.0"):
        activations.append(np.maximum(activations[-1] @ state[f"{name}.weight"].T + state[f"{name}.bias"], 0))
    activations.append(activations[-1] @ state["decoder.2.weight"].T + state["decoder.2.bias"])
    return activations


def gradients(state, x, sparsity_lambda):
    """Of the mean over the batch of ‖x − x̂‖² + λ‖z‖₁."""
    activations = forward(state, x)
    found = {}
    upstream = 2 * (activations[-1] - x) / len(x)
    for depth, name in reversed(list(enumerate(("encoder.0", "encoder.2", "decoder.0", "decoder.2")))):
        found[f"{name}.weight"] = upstream.T @ activations[depth]
        found[f"{name}.bias"] = upstream.sum(axis=0)
        upstream = upstream @ state[f"{name}.weight"]
        if depth == 2:
            upstream = upstream + sparsity_lambda / len(x)
        upstream = upstream * (activations[depth] > 0)
    return found


def train(frames, hidden, latents, n_steps, sparsity_lambda, seed=1):
    """Adam on frames (B × n, largest value 1). Returns the state dict."""
    rng = np.random.default_rng(seed)
    n = frames.shape[1]
    state = random_state((n, hidden, latents, hidden, n), rng)
    state["decoder.2.bias"][:] = frames.mean(axis=0)
    moments = {name: (np.zeros_like(array), np.zeros_like(array)) for name, array in state.items()}
    for step in range(1, n_steps + 1):
        batch = frames[rng.integers(0, len(frames), N_BATCH)]
        rate = LEARNING_RATE * (1 + np.cos(np.pi * step / n_steps)) / 2
        for name, gradient in gradients(state, batch, sparsity_lambda).items():
            first, second = moments[name]
            first += (1 - BETA_1) * (gradient - first)
            second += (1 - BETA_2) * (gradient * gradient - second)
            unbiased = first / (1 - BETA_1**step)
            state[name] -= rate * unbiased / (np.sqrt(second / (1 - BETA_2**step)) + 1e-8)
    return state
