// The network in the device's memory, and its layers as kernels or as problems for products. Steps are those of
// docs/format.md, "Network".
#pragma once

#include "product.h"

namespace h5zsae {

// Sizes and weights that the kernels of the decoder read.
struct DecoderView {
    int n_values, n_stored, n_hidden, n_coefs, n_linear;
    const int32_t *hidden_bias;
    int hidden_shift, hidden_bits;
    const int32_t *coef_bias;
    const uint8_t *coef_shift, *coef_frac_bits;
    int coef_bits;
    const int64_t *mean;
    const uint32_t *quarter_octaves_q30;
    InverseTransform inverse;
    double output_unit;
};

// Codes of a batch of patches: as h5zsae_cuda_codes, in the device's memory.
struct CodesView {
    int n_patches;
    const uint32_t *latent_start, *latent_index;
    const int32_t *latent_step;
    const uint32_t *linear_start, *linear_index;
    const int32_t *linear_level;
    const uint8_t *linear_step_quarters;
};

// Step 2: the rows of the few latents that are not 0, added up and rescaled to hidden units.
template <class Weight>
struct GatherHidden {
    static constexpr int THREADS = 128;
    struct Shared {};
    struct Thread {};

    DecoderView net;
    CodesView codes;
    const Weight *rows;
    int32_t *hidden;

    BOTH_SIDES Grid grid() const {
        return Grid{ceil_div(net.n_hidden, THREADS), static_cast<unsigned>(codes.n_patches)};
    }
    BOTH_SIDES int n_phases() const { return 1; }

    BOTH_SIDES void run(int, Block block, int thread, Shared &, Thread &) const {
        const size_t unit = size_t{block.col} * THREADS + thread, n_hidden = net.n_hidden;
        if (unit >= n_hidden) return;
        // Wraps: with sums of rows a partial sum may leave 64 bits, the whole one cannot.
        uint64_t sum = 0;
        for (uint32_t i = codes.latent_start[block.row]; i < codes.latent_start[block.row + 1]; ++i) {
            const int64_t weight = rows[codes.latent_index[i] * n_hidden + unit];
            sum += static_cast<uint64_t>(codes.latent_step[i] * weight);
        }
        const int64_t biased = static_cast<int64_t>(sum) + net.hidden_bias[unit];
        const int64_t largest = (int64_t{1} << net.hidden_bits) - 1;
        hidden[block.row * n_hidden + unit] =
            static_cast<int32_t>(clamp(rounding_shift(biased, net.hidden_shift), int64_t{0}, largest));
    }
};

// The level of a linear atom in a patch, 0 where its code has none: indices ascend.
BOTH_SIDES int32_t linear_level(const CodesView &codes, uint32_t patch, uint32_t atom) {
    uint32_t first = codes.linear_start[patch], end = codes.linear_start[patch + 1];
    while (first < end) {
        const uint32_t middle = first + (end - first) / 2;
        if (codes.linear_index[middle] < atom) {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    const bool found = first < codes.linear_start[patch + 1] && codes.linear_index[first] == atom;
    return found ? codes.linear_level[first] : 0;
}

// Steps 3 and 4 after the product: a sum becomes a coefficient.
struct FinishCoefficient {
    DecoderView net;
    CodesView codes;
    int64_t *coefs;

    BOTH_SIDES void operator()(int patch, int k, int64_t sum) const {
        const int64_t rescaled = rounding_shift(sum + net.coef_bias[k], net.coef_shift[k]);
        const int64_t linear = linear_coef(linear_level(codes, patch, k), codes.linear_step_quarters[patch],
                                           net.coef_frac_bits[k], net.quarter_octaves_q30);
        coefs[size_t(patch) * net.n_linear + k] = coefficient(rescaled, linear, net.coef_bits);
    }
};

// Coefficients that no product makes: from `first` on. Their sums are the hidden units, or 0 beyond the network's.
struct PlainCoefficients {
    static constexpr int THREADS = 128;
    struct Shared {};
    struct Thread {};

    FinishCoefficient finish;
    int first;
    const int32_t *hidden; // null beyond the network's

    BOTH_SIDES Grid grid() const {
        return Grid{ceil_div(finish.net.n_linear - first, THREADS), static_cast<unsigned>(finish.codes.n_patches)};
    }
    BOTH_SIDES int n_phases() const { return 1; }

    BOTH_SIDES void run(int, Block block, int thread, Shared &, Thread &) const {
        const int patch = block.row, k = first + static_cast<int>(block.col) * THREADS + thread;
        if (k >= finish.net.n_linear) return;
        finish(patch, k, hidden ? hidden[size_t(patch) * finish.net.n_hidden + k] : 0);
    }
};

// Steps 5 and 6 after the product: a sum becomes a value, or two of a point-symmetric patch. One output is null.
struct FinishValue {
    DecoderView net;
    int32_t *values_q30;
    float *reals;

    BOTH_SIDES void operator()(int patch, int p, int64_t sum) const {
        const int64_t output = sum + net.mean[p];
        const size_t first = size_t(patch) * net.n_values;
        if (values_q30) return store(values_q30 + first, p, value_q30(net.inverse, output));
        store(reals + first, p, static_cast<float>(static_cast<double>(output) * net.output_unit));
    }

    template <class T>
    BOTH_SIDES void store(T *patch, int p, T value) const {
        patch[p] = value;
        if (net.n_stored < net.n_values) patch[net.n_values - 1 - p] = value;
    }
};

// Rows of a layer's weights in the device's memory, in one of two forms.
struct WeightsView {
    int depth;
    const int16_t *numbers; // depth x columns
    const uint32_t *words; // digits x (depth / 4, rounded up) x columns: four rows of a column in a word
};

// An integer layer, or a block of its rows: the sums of all blocks but the last wait in `sums`.
template <class LeftNumber, class LeftAs, class SumAs, class Finish>
struct IntegerLayer {
    using Left = LeftAs;
    using Right = int16_t;
    using Sum = SumAs;

    int n_rows, depth, n_cols;
    const LeftNumber *left_numbers; // n_rows x left_stride
    int left_stride;
    WeightsView weights;
    bool is_first, is_last;
    int64_t *sums;
    Finish finish_layer;

    BOTH_SIDES LeftAs left(int row, int k) const {
        return static_cast<LeftAs>(left_numbers[size_t(row) * left_stride + k]);
    }
    BOTH_SIDES int16_t right(int k, int col) const { return weights.numbers[size_t(k) * n_cols + col]; }
    BOTH_SIDES uint32_t word(int digit, int word, int col) const {
        const size_t n_words = (depth + 3) / 4;
        return weights.words[(digit * n_words + word) * n_cols + col];
    }
    BOTH_SIDES void finish(int row, int col, int64_t sum) const {
        int64_t &before = sums[size_t(row) * n_cols + col];
        const int64_t total = is_first ? sum : before + sum;
        if (is_last) return finish_layer(row, col, total);
        before = total;
    }
};

// The encoder's first product: (rows - mean) * basis, of a point-symmetric patch over both halves at once.
struct BasisProduct {
    using Left = float;
    using Right = float;
    using Sum = float;

    int n_rows, depth, n_cols; // depth n'
    int n_values;
    const float *rows;
    const float *mean; // null: none is taken off
    const float *basis; // n' x basis_cols: transposed
    int basis_cols;
    const float *factors; // for each column; null: 1
    float *out;

    BOTH_SIDES float left(int row, int p) const {
        const int mirrored = n_values - 1 - p;
        const float value = centred(row, p);
        return depth == n_values || mirrored == p ? value : value + centred(row, mirrored);
    }
    BOTH_SIDES float centred(int row, int p) const {
        const float value = rows[size_t(row) * n_values + p];
        return mean ? value - mean[p] : value;
    }
    BOTH_SIDES float right(int p, int col) const { return basis[size_t(p) * basis_cols + col]; }
    BOTH_SIDES void finish(int row, int col, float sum) const {
        out[size_t(row) * n_cols + col] = factors ? sum * factors[col] : sum;
    }
};

// A layer of the encoder: max(rows * weights + bias, 0).
struct RectifiedLayer {
    using Left = float;
    using Right = float;
    using Sum = float;

    int n_rows, depth, n_cols;
    const float *rows, *weights, *bias;
    float *out;

    BOTH_SIDES float left(int row, int k) const { return rows[size_t(row) * depth + k]; }
    BOTH_SIDES float right(int k, int col) const { return weights[size_t(k) * n_cols + col]; }
    BOTH_SIDES void finish(int row, int col, float sum) const {
        const float value = sum + bias[col];
        out[size_t(row) * n_cols + col] = value > 0.0f ? value : 0.0f;
    }
};

}  // namespace h5zsae
