// The layers of a network in training, their gradients and Adam's step, in floats: what train/src/network.rs,
// refine.rs and optimiser.rs compute on the CPU. Codes are dense here (B x l, mostly zeros): their products are then
// matrix products, which a GPU does faster than it gathers rows. All sums are made in a fixed order.
#pragma once

#include <cmath>
#include <cstring>

#include "product.h"

namespace h5zsae {

// A matrix that is read as it lies, or transposed.
struct MatrixView {
    const float *values;
    size_t row_stride, col_stride;

    BOTH_SIDES float at(int row, int col) const { return values[row * row_stride + col * col_stride]; }
};

inline MatrixView as_is(const float *values, int n_cols) { return MatrixView{values, size_t(n_cols), 1}; }
inline MatrixView transposed(const float *values, int n_cols) { return MatrixView{values, 1, size_t(n_cols)}; }

// left * right; `finish_sum(place, column, sum)` takes each sum, where place counts through the product's rows.
template <class Finish>
struct MatrixProduct {
    using Left = float;
    using Right = float;
    using Sum = float;

    int n_rows, depth, n_cols;
    MatrixView left_matrix, right_matrix;
    Finish finish_sum;

    BOTH_SIDES float left(int row, int k) const { return left_matrix.at(row, k); }
    BOTH_SIDES float right(int k, int col) const { return right_matrix.at(k, col); }
    BOTH_SIDES void finish(int row, int col, float sum) const { finish_sum(size_t(row) * n_cols + col, col, sum); }
};

struct AddBias {
    const float *bias;
    bool rectify;
    float *out;

    BOTH_SIDES void operator()(size_t place, int col, float sum) const {
        const float value = sum + bias[col];
        out[place] = rectify && !(value > 0.0f) ? 0.0f : value;
    }
};

// Residual against the components, and half the derivative of its distortion.
struct FinishResidual {
    const float *bias, *components;
    float per_square; // 1/c^2, 0 for squared error
    float *residual, *slope;

    BOTH_SIDES void operator()(size_t place, int col, float sum) const {
        const float off = sum + bias[col] - components[place];
        residual[place] = off;
        slope[place] = off / (1.0f + off * off * per_square);
    }
};

// A gradient, scaled; where `activations` is given, only through units that are on.
struct FinishGradient {
    float factor;
    const float *activations; // null: all are
    float *out;

    BOTH_SIDES void operator()(size_t place, int, float sum) const {
        out[place] = !activations || activations[place] > 0.0f ? factor * sum : 0.0f;
    }
};

// The gradient by the entries of a code, with that of the L1 term.
struct FinishCodeGradient {
    const float *code;
    float l1_slope;
    float *out;

    BOTH_SIDES void operator()(size_t place, int, float sum) const {
        const float value = code[place];
        out[place] = value > 0.0f ? sum + l1_slope : value < 0.0f ? sum - l1_slope : 0.0f;
    }
};

// A kernel that does the same for each of `len` numbers.
template <class Body>
struct ForEach {
    static constexpr int THREADS = 256;
    struct Shared {};
    struct Thread {};

    size_t len;
    Body body;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>((len + THREADS - 1) / THREADS), 1}; }
    BOTH_SIDES int n_phases() const { return 1; }
    BOTH_SIDES void run(int, Block block, int thread, Shared &, Thread &) const {
        const size_t i = size_t{block.col} * THREADS + thread;
        if (i < len) body(i);
    }
};

struct ScaleColumns {
    int n_cols;
    const float *values, *factors;
    float *out;

    BOTH_SIDES void operator()(size_t i) const { out[i] = values[i] * factors[i % n_cols]; }
};

struct CopyNumber {
    const float *from;
    float *to;

    BOTH_SIDES void operator()(size_t i) const { to[i] = from[i]; }
};

// What a row of the batch adds to a bias, for each column.
struct ColumnSum {
    int n_rows, n_cols;
    const float *values;
    float factor;
    float *out;

    BOTH_SIDES void operator()(size_t col) const {
        float sum = 0.0f;
        for (int row = 0; row < n_rows; ++row) sum += values[size_t(row) * n_cols + col];
        out[col] = factor * sum;
    }
};

// How many patches each latent takes part in.
struct CountFired {
    int n_rows, n_latents;
    const float *code;
    uint32_t *out;

    BOTH_SIDES void operator()(size_t latent) const {
        uint32_t count = 0;
        for (int row = 0; row < n_rows; ++row) count += code[size_t(row) * n_latents + latent] != 0.0f;
        out[latent] = count;
    }
};

// Running sums over the rows, of each column: from the end, or from the start.
struct RunningSum {
    int n_rows, n_cols;
    bool from_the_end;
    float *values;

    BOTH_SIDES void operator()(size_t col) const {
        float sum = 0.0f;
        for (int i = 0; i < n_rows; ++i) {
            float &value = values[size_t(from_the_end ? n_rows - 1 - i : i) * n_cols + col];
            sum += value;
            value = sum;
        }
    }
};

// From the gradient by entries that are steps of rectified latents, that by the latents before their ReLU.
struct ThroughSteps {
    int n_latents;
    const float *preactivations, *entry_gradient;
    float *out;

    BOTH_SIDES void operator()(size_t i) const {
        const bool has_next = i % n_latents + 1 < size_t(n_latents);
        const float change = has_next ? entry_gradient[i] - entry_gradient[i + 1] : entry_gradient[i];
        out[i] = preactivations[i] > 0.0f ? change : 0.0f;
    }
};

// Adam (Kingma and Ba 2015) on one weight.
struct AdamStep {
    float beta1, beta2, epsilon, learning_rate, mean_correction, square_correction;
    const float *clip_scale;
    const float *gradient;
    float *weights, *mean, *square;

    BOTH_SIDES void operator()(size_t i) const {
        const float slope = gradient[i] * *clip_scale;
        mean[i] = beta1 * mean[i] + (1.0f - beta1) * slope;
        square[i] = beta2 * square[i] + (1.0f - beta2) * slope * slope;
        const float spread = sqrtf(square[i] * square_correction) + epsilon;
        weights[i] -= learning_rate * mean[i] * mean_correction / spread;
    }
};

// Threads of a block that adds up: each its own share, then the first one all shares in their order.
constexpr int SUMMING_THREADS = 128;

template <class Sum>
BOTH_SIDES Sum sum_of_shares(const Sum *shares) {
    Sum sum = 0;
    for (int i = 0; i < SUMMING_THREADS; ++i) sum += shares[i];
    return sum;
}

// What one thread adds up of the inner product of two rows.
BOTH_SIDES float share_of_product(const float *a, const float *b, int n_cols, int thread) {
    float sum = 0.0f;
    for (int col = thread; col < n_cols; col += SUMMING_THREADS) sum += a[col] * b[col];
    return sum;
}

// Rows at unit norm, and their norms.
struct UnitRows {
    static constexpr int THREADS = SUMMING_THREADS;
    struct Shared {
        float shares[THREADS];
        float norm;
    };
    struct Thread {};

    int n_rows, n_cols;
    const float *rows;
    float *unit, *norms;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(n_rows), 1}; }
    BOTH_SIDES int n_phases() const { return 3; }
    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &) const {
        const size_t first = size_t{block.col} * n_cols;
        if (phase == 0) {
            shared.shares[thread] = share_of_product(rows + first, rows + first, n_cols, thread);
        } else if (phase == 1) {
            if (thread > 0) return;
            const float norm = sqrtf(sum_of_shares(shared.shares));
            shared.norm = norm > 1e-30f ? norm : 1e-30f;
            norms[block.col] = shared.norm;
        } else {
            for (int col = thread; col < n_cols; col += THREADS) unit[first + col] = rows[first + col] / shared.norm;
        }
    }
};

// From the gradient by rows at unit norm, that by the rows themselves.
struct ThroughNorm {
    static constexpr int THREADS = SUMMING_THREADS;
    struct Shared {
        float shares[THREADS];
        float along;
    };
    struct Thread {};

    int n_rows, n_cols;
    const float *unit, *norms;
    float *gradient;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(n_rows), 1}; }
    BOTH_SIDES int n_phases() const { return 3; }
    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &) const {
        const size_t first = size_t{block.col} * n_cols;
        if (phase == 0) {
            shared.shares[thread] = share_of_product(gradient + first, unit + first, n_cols, thread);
        } else if (phase == 1) {
            if (thread == 0) shared.along = sum_of_shares(shared.shares);
        } else {
            for (int col = thread; col < n_cols; col += THREADS) {
                float &value = gradient[first + col];
                value = (value - shared.along * unit[first + col]) / norms[block.col];
            }
        }
    }
};

// Sums of squares of pieces of the gradient.
struct SquareSums {
    static constexpr int THREADS = SUMMING_THREADS;
    static constexpr size_t PIECE = size_t{THREADS} * 64;
    struct Shared {
        double shares[THREADS];
    };
    struct Thread {};

    size_t len;
    const float *values;
    double *out;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(n_pieces(len)), 1}; }
    BOTH_SIDES static size_t n_pieces(size_t len) { return (len + PIECE - 1) / PIECE; }
    BOTH_SIDES int n_phases() const { return 2; }
    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &) const {
        if (phase == 1) {
            if (thread == 0) out[block.col] = sum_of_shares(shared.shares);
            return;
        }
        const size_t first = block.col * PIECE, end = first + PIECE < len ? first + PIECE : len;
        double sum = 0.0;
        for (size_t i = first + thread; i < end; i += THREADS) sum += double(values[i]) * values[i];
        shared.shares[thread] = sum;
    }
};

// What the gradient is multiplied by, so that its norm is at most `clip_norm`.
struct ClipScale {
    static constexpr int THREADS = 1;
    struct Shared {};
    struct Thread {};

    size_t n_pieces;
    const double *square_sums;
    float clip_norm;
    float *out;

    BOTH_SIDES Grid grid() const { return Grid{1, 1}; }
    BOTH_SIDES int n_phases() const { return 1; }
    BOTH_SIDES void run(int, Block, int, Shared &, Thread &) const {
        double sum = 0.0;
        for (size_t i = 0; i < n_pieces; ++i) sum += square_sums[i];
        const float scale = clip_norm / static_cast<float>(sqrt(sum));
        *out = scale < 1.0f ? scale : 1.0f;
    }
};

// The entries of a patch's code: the `active` of largest magnitude, of equal ones the first. The magnitude of the last
// one that is kept is found bit by bit, as floats that are not negative order as their bits do.
struct SelectEntries {
    static constexpr int THREADS = SUMMING_THREADS;
    static constexpr int MAGNITUDE_BITS = 31;
    struct Shared {
        uint32_t least; // bits of the least magnitude that is kept
        int equal_kept; // how many of that magnitude are
        int greater[THREADS], equal[THREADS];
    };
    struct Thread {};

    int n_patches, n_latents, active;
    bool steps; // entries are steps of the rectified latents, else these
    const float *preactivations;
    float *code;
    uint32_t *entry_index; // n_patches x active
    uint32_t *n_entries;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(n_patches), 1}; }
    BOTH_SIDES int n_phases() const { return 1 + 2 * MAGNITUDE_BITS + 3; }
    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &) const {
        const float *row = preactivations + size_t{block.col} * n_latents;
        if (phase == 0) {
            if (thread == 0) shared.least = 0;
        } else if (phase <= 2 * MAGNITUDE_BITS) {
            const uint32_t tried = shared.least | 1u << (MAGNITUDE_BITS - 1 - (phase - 1) / 2);
            if (phase % 2 == 1) {
                count(row, tried, thread, shared);
            } else if (thread == 0 && n_at_least(shared) >= active) {
                shared.least = tried;
            }
        } else if (phase == 2 * MAGNITUDE_BITS + 1) {
            count(row, shared.least, thread, shared);
        } else if (phase == 2 * MAGNITUDE_BITS + 2) {
            if (thread == 0) place(block, shared);
        } else {
            write(row, block, thread, shared);
        }
    }

    BOTH_SIDES static uint32_t magnitude(float entry) {
        uint32_t bits;
        memcpy(&bits, &entry, sizeof bits);
        return bits & 0x7fffffffu;
    }
    BOTH_SIDES static float rectified(float value) { return value > 0.0f ? value : 0.0f; }
    BOTH_SIDES float entry(const float *row, int i) const {
        return rectified(row[i]) - (steps && i > 0 ? rectified(row[i - 1]) : 0.0f);
    }
    // Each thread has latents in a row.
    BOTH_SIDES int share_len() const { return static_cast<int>(ceil_div(n_latents, THREADS)); }
    BOTH_SIDES int share_end(int thread) const {
        const int end = (thread + 1) * share_len();
        return end < n_latents ? end : n_latents;
    }

    BOTH_SIDES void count(const float *row, uint32_t bits, int thread, Shared &shared) const {
        int greater = 0, equal = 0;
        for (int i = thread * share_len(); i < share_end(thread); ++i) {
            const uint32_t found = magnitude(entry(row, i));
            greater += found > bits;
            equal += found == bits && found != 0;
        }
        shared.greater[thread] = greater;
        shared.equal[thread] = equal;
    }
    BOTH_SIDES int n_at_least(const Shared &shared) const {
        return sum_of_shares(shared.greater) + sum_of_shares(shared.equal);
    }
    // Turns counts into where each thread's entries begin, and how many equal ones came before.
    BOTH_SIDES void place(Block block, Shared &shared) const {
        const int equal_kept = active - sum_of_shares(shared.greater);
        int n_before = 0, equal_before = 0;
        for (int i = 0; i < THREADS; ++i) {
            const int left = equal_kept - equal_before, equal = shared.equal[i];
            const int kept = shared.greater[i] + (left <= 0 ? 0 : equal < left ? equal : left);
            shared.greater[i] = n_before;
            shared.equal[i] = equal_before;
            n_before += kept;
            equal_before += equal;
        }
        n_entries[block.col] = n_before;
        shared.equal_kept = equal_kept;
    }
    BOTH_SIDES void write(const float *row, Block block, int thread, const Shared &shared) const {
        int place = shared.greater[thread], equal_before = shared.equal[thread];
        for (int i = thread * share_len(); i < share_end(thread); ++i) {
            const float value = entry(row, i);
            const uint32_t found = magnitude(value);
            bool is_kept = found > shared.least;
            if (found == shared.least && found != 0) is_kept = equal_before++ < shared.equal_kept;
            code[size_t{block.col} * n_latents + i] = is_kept ? value : 0.0f;
            if (is_kept) entry_index[size_t{block.col} * active + place++] = i;
        }
    }
};

// Sums over a patch, for reports and to compare codes.
struct PatchSums {
    double squared_error, distortion, l1;
};

struct SumPatches {
    static constexpr int THREADS = SUMMING_THREADS;
    struct Shared {
        double squared_error[THREADS], distortion[THREADS], l1[THREADS];
    };
    struct Thread {};

    int n_patches, n_components, n_latents;
    double rate_scale;
    const float *residual, *code;
    PatchSums *out;

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(n_patches), 1}; }
    BOTH_SIDES int n_phases() const { return 2; }
    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &) const {
        if (phase == 1) {
            if (thread > 0) return;
            out[block.col] = PatchSums{sum_of_shares(shared.squared_error), sum_of_shares(shared.distortion),
                                       sum_of_shares(shared.l1)};
            return;
        }
        double squares = 0.0, distortion = 0.0, l1 = 0.0;
        const double scale = rate_scale * rate_scale;
        for (int k = thread; k < n_components; k += THREADS) {
            const double off = residual[size_t{block.col} * n_components + k], square = off * off;
            squares += square;
            distortion += scale == 0.0 ? square : scale * log1p(square / scale);
        }
        for (int i = thread; i < n_latents; i += THREADS) {
            l1 += fabs(double(code[size_t{block.col} * n_latents + i]));
        }
        shared.squared_error[thread] = squares;
        shared.distortion[thread] = distortion;
        shared.l1[thread] = l1;
    }
};

// The entries of some patches' codes, and their derivatives: a Gauss-Newton step as in train/src/refine.rs.
struct EntriesView {
    int first_patch, n_patches, most; // entries of a patch
    const uint32_t *index, *n_entries;

    BOTH_SIDES uint32_t count(int patch) const { return n_entries[first_patch + patch]; }
    BOTH_SIDES uint32_t latent(int patch, int entry) const {
        return index[size_t(first_patch + patch) * most + entry];
    }
};

// Derivative of the components by each entry: a row for each, also for those that a patch has not, which is 0.
struct JacobianProduct {
    using Left = float;
    using Right = float;
    using Sum = float;

    int n_rows, depth, n_cols;
    EntriesView entries;
    const float *hidden, *atoms, *coef;
    float *out;

    BOTH_SIDES float left(int row, int unit) const {
        const int patch = row / entries.most, entry = row % entries.most;
        if (entry >= static_cast<int>(entries.count(patch))) return 0.0f;
        const bool is_on = hidden[size_t(entries.first_patch + patch) * depth + unit] > 0.0f;
        return is_on ? atoms[size_t(entries.latent(patch, entry)) * depth + unit] : 0.0f;
    }
    BOTH_SIDES float right(int unit, int k) const { return coef[size_t(unit) * n_cols + k]; }
    BOTH_SIDES void finish(int row, int k, float sum) const { out[size_t(row) * n_cols + k] = sum; }
};

// The normal equations of each patch: the lower half of the matrix, and the right side as one more column.
struct NormalEquations {
    static constexpr int THREADS = 128;
    struct Shared {};
    struct Thread {};

    EntriesView entries;
    int n_components;
    double damping;
    const float *jacobian, *residual, *slope;
    double *out; // n_patches x most x (most + 1)

    BOTH_SIDES Grid grid() const { return Grid{static_cast<unsigned>(entries.n_patches), 1}; }
    BOTH_SIDES int n_phases() const { return 1; }
    BOTH_SIDES void run(int, Block block, int thread, Shared &, Thread &) const {
        const int n = entries.count(block.col), width = entries.most + 1;
        const float *rows = jacobian + size_t{block.col} * entries.most * n_components;
        const size_t patch = size_t(entries.first_patch) + block.col;
        double *system = out + size_t{block.col} * entries.most * width;
        for (int place = thread; place < n * (n + 1); place += THREADS) {
            const int i = place / (n + 1), j = place % (n + 1);
            if (j > i && j < n) continue;
            float sum = 0.0f;
            for (int k = 0; k < n_components; ++k) {
                const float off = residual[patch * n_components + k], pull = slope[patch * n_components + k];
                const float left = rows[size_t(i) * n_components + k];
                if (j == n) {
                    sum += left * pull;
                } else {
                    sum += left * rows[size_t(j) * n_components + k] * (off == 0.0f ? 1.0f : pull / off);
                }
            }
            system[size_t(i) * width + (j == n ? width - 1 : j)] = i == j ? sum * (1.0 + damping) : double(sum);
        }
    }
};

// Solves them by Cholesky's method, and moves the codes; those whose matrix is not positive definite stay.
struct MoveCodes {
    EntriesView entries;
    int n_latents;
    double *systems;
    float *code;

    BOTH_SIDES void operator()(size_t patch) const {
        const int n = entries.count(static_cast<int>(patch)), width = entries.most + 1;
        double *system = systems + patch * entries.most * width;
        if (!solve(system, n, width)) return;
        for (int i = 0; i < n; ++i) {
            const size_t row = (entries.first_patch + patch) * n_latents;
            float &value = code[row + entries.latent(static_cast<int>(patch), i)];
            const float moved = value - static_cast<float>(system[size_t(i) * width + width - 1]);
            value = moved > 0.0f ? moved : 0.0f;
        }
    }

    // The solution takes the place of the right side; false where there is none.
    BOTH_SIDES static bool solve(double *system, int n, int width) {
        for (int j = 0; j < n; ++j) {
            double *row_j = system + size_t(j) * width;
            double pivot = row_j[j];
            for (int k = 0; k < j; ++k) pivot -= row_j[k] * row_j[k];
            if (!(pivot > 0.0)) return false;
            row_j[j] = sqrt(pivot);
            for (int i = j + 1; i < n; ++i) {
                double *row_i = system + size_t(i) * width;
                double sum = row_i[j];
                for (int k = 0; k < j; ++k) sum -= row_i[k] * row_j[k];
                row_i[j] = sum / row_j[j];
            }
        }
        const int right = width - 1;
        for (int i = 0; i < n; ++i) {
            double *row = system + size_t(i) * width;
            for (int k = 0; k < i; ++k) row[right] -= row[k] * system[size_t(k) * width + right];
            row[right] /= row[i];
        }
        for (int i = n - 1; i >= 0; --i) {
            double *row = system + size_t(i) * width;
            for (int k = i + 1; k < n; ++k) {
                row[right] -= system[size_t(k) * width + i] * system[size_t(k) * width + right];
            }
            row[right] /= row[i];
        }
        return true;
    }
};

// Patches whose step made them no better keep their codes.
struct KeepBetter {
    int n_latents;
    const PatchSums *before, *after;
    const float *code;
    float *refined;

    BOTH_SIDES void operator()(size_t i) const {
        const size_t patch = i / n_latents;
        if (!(after[patch].distortion < before[patch].distortion)) refined[i] = code[i];
    }
};

}  // namespace h5zsae
