// A network's weights on a device, and which kernel multiplies by each block of them.
#pragma once

#include <vector>

#include "../include/h5zsae_cuda.h"
#include "layers.h"

namespace h5zsae {

// How a block of weights is multiplied. Every way is exact; the first that the widths allow is taken.
enum class Way {
    bytes, // pairs of digits by dp4a
    sum32, // 32-bit factors, 32-bit sums
    sum64, // 32-bit factors, 64-bit sums
    wide, // 64-bit factors, 64-bit sums
};

// More products of digits for each four factors are slower than whole numbers.
constexpr int MOST_DIGIT_PAIRS = 6;
// Depth up to which a sum of digits fits 32 bits: see DigitProduct.
constexpr uint32_t MOST_DIGIT_DEPTH = 1u << 16;

// Which numbers a layer's left side holds.
struct LeftWidth {
    int bits; // of the magnitude
    bool has_sign;

    int digits() const { return (bits + has_sign + 7) / 8; }
};

struct WeightBlock {
    Way way;
    int depth;
    int left_digits, weight_digits;
    DeviceArray<int16_t> numbers;
    DeviceArray<uint32_t> words;

    WeightBlock(const h5zsae_cuda_block &block, uint32_t n_cols, LeftWidth left)
        : depth(static_cast<int>(block.rows)), left_digits(left.digits()),
          weight_digits(block.weight_bits == 8 ? 1 : 2) {
        way = choose_way(block, n_cols, left);
        if (way == Way::bytes) {
            const std::vector<uint32_t> packed = pack_digits(block, n_cols);
            words = to_device(packed.data(), packed.size());
        } else {
            numbers = to_device(block.weights, size_t{block.rows} * n_cols);
        }
    }

    WeightsView view() const { return WeightsView{depth, numbers.get(), words.get()}; }

  private:
    Way choose_way(const h5zsae_cuda_block &block, uint32_t n_cols, LeftWidth left) const {
        if (left_digits * weight_digits <= MOST_DIGIT_PAIRS && block.rows <= MOST_DIGIT_DEPTH) return Way::bytes;
        if (left.bits > 31) return Way::wide;
        // Magnitudes of weights are at most 2^15, of which there are at most 2^16: no overflow.
        const int64_t largest_left = (int64_t{1} << left.bits) - 1;
        return largest_column(block, n_cols) <= INT32_MAX / largest_left ? Way::sum32 : Way::sum64;
    }

    // Largest sum of magnitudes in a column.
    static int64_t largest_column(const h5zsae_cuda_block &block, uint32_t n_cols) {
        int64_t largest = 0;
        for (uint32_t col = 0; col < n_cols; ++col) {
            int64_t sum = 0;
            for (uint32_t row = 0; row < block.rows; ++row) {
                const int64_t weight = block.weights[size_t{row} * n_cols + col];
                sum += weight < 0 ? -weight : weight;
            }
            largest = sum > largest ? sum : largest;
        }
        return largest;
    }

    std::vector<uint32_t> pack_digits(const h5zsae_cuda_block &block, uint32_t n_cols) const {
        const size_t n_words = (block.rows + 3) / 4;
        std::vector<uint32_t> packed(weight_digits * n_words * n_cols, 0);
        for (int digit = 0; digit < weight_digits; ++digit) {
            for (size_t row = 0; row < block.rows; ++row) {
                for (size_t col = 0; col < n_cols; ++col) {
                    const uint32_t byte = block.weights[row * n_cols + col] >> 8 * digit & 0xff;
                    packed[(digit * n_words + row / 4) * n_cols + col] |= byte << 8 * (row % 4);
                }
            }
        }
        return packed;
    }
};

struct Network {
    // Sizes; l is only the encoder's.
    DecoderView decoder;
    int n_latents;
    // Patches of a batch, so that no layer holds more than LARGEST_BATCH numbers.
    uint32_t batch_len;

    DeviceArray<int8_t> hidden8;
    DeviceArray<int16_t> hidden16;
    DeviceArray<int32_t> hidden32;
    std::vector<WeightBlock> coef, basis;
    bool input_is_direct;
    DeviceArray<float> basis_real, inverse_norms, mean_real, input, input_bias, latent, latent_bias;

    explicit Network(const h5zsae_cuda_model &model);

  private:
    static constexpr size_t LARGEST_BATCH = size_t{1} << 22;
    static constexpr size_t MOST_PATCHES = 1024;

    DeviceArray<int32_t> hidden_bias_, coef_bias_;
    DeviceArray<uint8_t> coef_shift_, coef_frac_bits_;
    DeviceArray<int64_t> mean_;
    DeviceArray<uint32_t> powers_, quarter_octaves_;

    void load_decoder(const h5zsae_cuda_model &model);
    void load_hidden(const h5zsae_cuda_model &model);
    void load_encoder(const h5zsae_cuda_model &model);
    static uint32_t batch_len_of(const h5zsae_cuda_model &model);
};

inline Network::Network(const h5zsae_cuda_model &model)
    : decoder{}, n_latents(static_cast<int>(model.n_latents)), batch_len(batch_len_of(model)),
      input_is_direct(model.input_is_direct != 0) {
    load_hidden(model);
    load_decoder(model);
    load_encoder(model);
}

inline uint32_t Network::batch_len_of(const h5zsae_cuda_model &model) {
    size_t widest = 1;
    for (const size_t width : {model.n_values, model.n_latents, model.n_hidden, model.n_linear}) {
        widest = width > widest ? width : widest;
    }
    return static_cast<uint32_t>(clamp(LARGEST_BATCH / widest, size_t{1}, MOST_PATCHES));
}

inline void Network::load_hidden(const h5zsae_cuda_model &model) {
    const size_t len = size_t{model.n_latents} * model.n_hidden;
    switch (model.hidden_weight_bits) {
    case 8: hidden8 = to_device(static_cast<const int8_t *>(model.hidden), len); break;
    case 16: hidden16 = to_device(static_cast<const int16_t *>(model.hidden), len); break;
    default: hidden32 = to_device(static_cast<const int32_t *>(model.hidden), len); break;
    }
}

inline void Network::load_decoder(const h5zsae_cuda_model &model) {
    hidden_bias_ = to_device(model.hidden_bias, model.n_hidden);
    coef_bias_ = to_device(model.coef_bias, model.n_linear);
    coef_shift_ = to_device(model.coef_shift, model.n_linear);
    coef_frac_bits_ = to_device(model.coef_frac_bits, model.n_linear);
    mean_ = to_device(model.mean, model.n_stored);
    powers_ = to_device(model.powers_q30, 257);
    quarter_octaves_ = to_device(model.quarter_octaves_q30, 4);

    const int output_frac_bits = static_cast<int>(model.output_frac_bits);
    decoder.n_values = static_cast<int>(model.n_values);
    decoder.n_stored = static_cast<int>(model.n_stored);
    decoder.n_hidden = static_cast<int>(model.n_hidden);
    decoder.n_coefs = static_cast<int>(model.n_coefs);
    decoder.n_linear = static_cast<int>(model.n_linear);
    decoder.hidden_bias = hidden_bias_.get();
    decoder.hidden_shift = static_cast<int>(model.hidden_shift);
    decoder.hidden_bits = static_cast<int>(model.hidden_bits);
    decoder.coef_bias = coef_bias_.get();
    decoder.coef_shift = coef_shift_.get();
    decoder.coef_frac_bits = coef_frac_bits_.get();
    decoder.coef_bits = static_cast<int>(model.coef_bits);
    decoder.mean = mean_.get();
    decoder.quarter_octaves_q30 = quarter_octaves_.get();
    decoder.inverse = InverseTransform{static_cast<Transform>(model.transform), output_frac_bits, model.offset_q24,
                                       model.log_exponent_q24, powers_.get()};
    decoder.output_unit = 1.0 / static_cast<double>(int64_t{1} << output_frac_bits);

    if (model.coef.rows) coef.emplace_back(model.coef, model.n_coefs, LeftWidth{decoder.hidden_bits, false});
    for (uint32_t i = 0; i < model.n_basis_blocks; ++i) {
        basis.emplace_back(model.basis[i], model.n_stored, LeftWidth{decoder.coef_bits, true});
    }
}

inline void Network::load_encoder(const h5zsae_cuda_model &model) {
    const size_t n_linear = model.n_linear, n_stored = model.n_stored;
    // Transposed, so that neighbouring threads, which have neighbouring columns of the result, read side by side.
    std::vector<float> transposed(n_linear * n_stored);
    for (size_t k = 0; k < n_linear; ++k) {
        for (size_t p = 0; p < n_stored; ++p) transposed[p * n_linear + k] = model.basis_real[k * n_stored + p];
    }
    const size_t n_inputs = input_is_direct ? model.n_values : model.n_coefs;
    basis_real = to_device(transposed.data(), transposed.size());
    inverse_norms = to_device(model.inverse_norms, n_linear);
    mean_real = to_device(model.mean_real, model.n_values);
    input = to_device(model.input, n_inputs * model.n_hidden);
    input_bias = to_device(model.input_bias, model.n_hidden);
    latent = to_device(model.latent, size_t{model.n_hidden} * model.n_latents);
    latent_bias = to_device(model.latent_bias, model.n_latents);
}

}  // namespace h5zsae
