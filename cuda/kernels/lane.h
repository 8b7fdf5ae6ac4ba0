// One batch of patches on its way through the network: a stream, memory for every layer, and pinned memory for what
// goes there and comes back. A network has a few lanes, so that batches of several threads and chunks overlap.
#pragma once

#include <cstring>

#include "network.h"

namespace h5zsae {

// Lays arrays out in one piece of memory, so that one copy takes all of them to the device.
class Packing {
  public:
    template <class T>
    size_t place(size_t len) {
        const size_t offset = n_bytes_;
        // Multiples of 16 bytes suit every type.
        n_bytes_ = (offset + len * sizeof(T) + 15) / 16 * 16;
        return offset;
    }
    size_t n_bytes() const { return n_bytes_; }

  private:
    size_t n_bytes_ = 0;
};

class Lane {
  public:
    // Starts decoding patches first .. first + n_patches of `codes`. One of the outputs is null.
    void decode(const Network &net, const h5zsae_cuda_codes &codes, uint32_t first, uint32_t n_patches, bool as_reals) {
        const CodesView view = upload(codes, first, n_patches);
        const size_t rows = n_patches, n_linear = net.decoder.n_linear;
        integers_.reserve(rows * net.decoder.n_hidden);
        coefs_.reserve(rows * n_linear);
        sums_.reserve(rows * (n_linear > size_t(net.decoder.n_stored) ? n_linear : net.decoder.n_stored));
        gather(net, view);
        coefficients(net, view);
        const size_t n_out = rows * net.decoder.n_values;
        reserve_output(n_out);
        const FinishValue finish{net.decoder, as_reals ? nullptr : reinterpret_cast<int32_t *>(output_.get()),
                                 as_reals ? reinterpret_cast<float *>(output_.get()) : nullptr};
        product<true>(net.basis, view.n_patches, coefs_.get(), net.decoder.n_linear, net.decoder.n_stored, finish);
        download(n_out);
    }

    // Starts the encoder's layers on n_patches rows of n values.
    void latents(const Network &net, const float *rows, uint32_t n_patches) {
        const int n_hidden = net.decoder.n_hidden, n_rows = static_cast<int>(n_patches);
        const float *inputs = upload_rows(net, rows, n_patches);
        int n_inputs = net.decoder.n_values;
        if (!net.input_is_direct) {
            n_inputs = net.decoder.n_coefs;
            coordinates_.reserve(size_t{n_patches} * n_inputs);
            stream_.launch(NumberProduct<BasisProduct>{BasisProduct{
                n_rows, net.decoder.n_stored, n_inputs, net.decoder.n_values, inputs, net.mean_real.get(),
                net.basis_real.get(), net.decoder.n_linear, nullptr, coordinates_.get()}});
            inputs = coordinates_.get();
        }
        hidden_reals_.reserve(size_t{n_patches} * n_hidden);
        stream_.launch(NumberProduct<RectifiedLayer>{RectifiedLayer{
            n_rows, n_inputs, n_hidden, inputs, net.input.get(), net.input_bias.get(), hidden_reals_.get()}});
        const size_t n_out = size_t{n_patches} * net.n_latents;
        reserve_output(n_out);
        stream_.launch(NumberProduct<RectifiedLayer>{
            RectifiedLayer{n_rows, n_hidden, net.n_latents, hidden_reals_.get(), net.latent.get(),
                           net.latent_bias.get(), reinterpret_cast<float *>(output_.get())}});
        download(n_out);
    }

    // Starts the inner products of n_patches rows of n values with the basis.
    void project(const Network &net, const float *rows, uint32_t n_patches) {
        const float *residual = upload_rows(net, rows, n_patches);
        const size_t n_out = size_t{n_patches} * net.decoder.n_linear;
        reserve_output(n_out);
        stream_.launch(NumberProduct<BasisProduct>{BasisProduct{
            static_cast<int>(n_patches), net.decoder.n_stored, net.decoder.n_linear, net.decoder.n_values, residual,
            nullptr, net.basis_real.get(), net.decoder.n_linear, net.inverse_norms.get(),
            reinterpret_cast<float *>(output_.get())}});
        download(n_out);
    }

    // Waits for what was started, and takes it: as many numbers of 4 bytes as there are.
    void finish(void *out) {
        stream_.wait();
        std::memcpy(out, pinned_output_.get(), n_out_ * sizeof(uint32_t));
    }

    // Waits for what was started, whatever came of it: nothing may still use the memory.
    void abandon() noexcept {
        try {
            stream_.wait();
        } catch (const Failure &) {
            // Whoever started it has met this failure, or another one before.
        }
    }

  private:
    Stream stream_;
    PinnedArray<char> pinned_input_;
    DeviceArray<char> input_;
    DeviceArray<int32_t> integers_; // hidden units
    DeviceArray<int64_t> coefs_, sums_;
    DeviceArray<float> coordinates_, hidden_reals_;
    DeviceArray<uint32_t> output_; // int32_t or float
    PinnedArray<uint32_t> pinned_output_;
    size_t n_out_ = 0;

    void reserve_output(size_t n_out) {
        output_.reserve(n_out);
        pinned_output_.reserve(n_out);
        n_out_ = n_out;
    }

    void download(size_t n_out) { stream_.download(pinned_output_.get(), output_.get(), n_out * sizeof(uint32_t)); }

    const float *upload_rows(const Network &net, const float *rows, uint32_t n_patches) {
        const size_t n_bytes = size_t{n_patches} * net.decoder.n_values * sizeof(float);
        pinned_input_.reserve(n_bytes);
        input_.reserve(n_bytes);
        std::memcpy(pinned_input_.get(), rows, n_bytes);
        stream_.upload(input_.get(), pinned_input_.get(), n_bytes);
        return reinterpret_cast<const float *>(input_.get());
    }

    CodesView upload(const h5zsae_cuda_codes &codes, uint32_t first, uint32_t n_patches) {
        const uint32_t latent = codes.latent_start[first], n_latents = codes.latent_start[first + n_patches] - latent;
        const uint32_t linear = codes.linear_start[first], n_linear = codes.linear_start[first + n_patches] - linear;
        Packing packing;
        const size_t latent_start = packing.place<uint32_t>(n_patches + 1);
        const size_t latent_index = packing.place<uint32_t>(n_latents);
        const size_t latent_step = packing.place<int32_t>(n_latents);
        const size_t linear_start = packing.place<uint32_t>(n_patches + 1);
        const size_t linear_index = packing.place<uint32_t>(n_linear);
        const size_t linear_level = packing.place<int32_t>(n_linear);
        const size_t quarters = packing.place<uint8_t>(n_patches);
        pinned_input_.reserve(packing.n_bytes());
        input_.reserve(packing.n_bytes());

        stage_starts(latent_start, codes.latent_start + first, n_patches);
        stage(latent_index, codes.latent_index + latent, n_latents);
        stage(latent_step, codes.latent_step + latent, n_latents);
        stage_starts(linear_start, codes.linear_start + first, n_patches);
        stage(linear_index, codes.linear_index + linear, n_linear);
        stage(linear_level, codes.linear_level + linear, n_linear);
        stage(quarters, codes.linear_step_quarters + first, n_patches);
        stream_.upload(input_.get(), pinned_input_.get(), packing.n_bytes());
        return CodesView{static_cast<int>(n_patches), staged<uint32_t>(latent_start), staged<uint32_t>(latent_index),
                         staged<int32_t>(latent_step), staged<uint32_t>(linear_start), staged<uint32_t>(linear_index),
                         staged<int32_t>(linear_level), staged<uint8_t>(quarters)};
    }

    template <class T>
    void stage(size_t offset, const T *values, size_t len) {
        if (len) std::memcpy(pinned_input_.get() + offset, values, len * sizeof(T));
    }
    // Starts of a batch count from its own first entry.
    void stage_starts(size_t offset, const uint32_t *starts, uint32_t n_patches) {
        uint32_t *staged_starts = reinterpret_cast<uint32_t *>(pinned_input_.get() + offset);
        for (uint32_t i = 0; i <= n_patches; ++i) staged_starts[i] = starts[i] - starts[0];
    }
    template <class T>
    const T *staged(size_t offset) const {
        return reinterpret_cast<const T *>(input_.get() + offset);
    }

    void gather(const Network &net, const CodesView &codes) {
        if (net.hidden8.get()) return gather_rows(net, codes, net.hidden8.get());
        if (net.hidden16.get()) return gather_rows(net, codes, net.hidden16.get());
        gather_rows(net, codes, net.hidden32.get());
    }
    template <class Weight>
    void gather_rows(const Network &net, const CodesView &codes, const Weight *rows) {
        stream_.launch(GatherHidden<Weight>{net.decoder, codes, rows, integers_.get()});
    }

    void coefficients(const Network &net, const CodesView &codes) {
        const FinishCoefficient finish{net.decoder, codes, coefs_.get()};
        if (net.coef.empty()) {
            stream_.launch(PlainCoefficients{finish, 0, integers_.get()});
            return;
        }
        const DecoderView &sizes = net.decoder;
        product<false>(net.coef, codes.n_patches, integers_.get(), sizes.n_hidden, sizes.n_coefs, finish);
        if (sizes.n_coefs < sizes.n_linear) stream_.launch(PlainCoefficients{finish, sizes.n_coefs, nullptr});
    }

    // left * weights, block by block, then `finish` for each sum.
    template <bool LEFT_SIGNED, class LeftNumber, class Finish>
    void product(const std::vector<WeightBlock> &blocks, int n_rows, const LeftNumber *left, int left_stride,
                 int n_cols, const Finish &finish) {
        for (size_t i = 0; i < blocks.size(); ++i) {
            const WeightBlock &block = blocks[i];
            const IntegerLayer<LeftNumber, int64_t, int64_t, Finish> layer{
                n_rows, block.depth, n_cols, left, left_stride, block.view(), i == 0, i + 1 == blocks.size(),
                sums_.get(), finish};
            multiply<LEFT_SIGNED>(block, layer);
            left += block.depth;
        }
    }

    template <bool LEFT_SIGNED, class LeftNumber, class Finish>
    void multiply(const WeightBlock &block, const IntegerLayer<LeftNumber, int64_t, int64_t, Finish> &layer) {
        switch (block.way) {
        case Way::bytes: return multiply_bytes<LEFT_SIGNED>(block, layer);
        case Way::sum32: return multiply_as<int32_t, int32_t>(layer);
        case Way::sum64: return multiply_as<int32_t, int64_t>(layer);
        case Way::wide: return multiply_as<int64_t, int64_t>(layer);
        }
    }

    template <class Left, class Sum, class LeftNumber, class Finish>
    void multiply_as(const IntegerLayer<LeftNumber, int64_t, int64_t, Finish> &layer) {
        using Layer = IntegerLayer<LeftNumber, Left, Sum, Finish>;
        stream_.launch(NumberProduct<Layer>{Layer{layer.n_rows, layer.depth, layer.n_cols, layer.left_numbers,
                                                  layer.left_stride, layer.weights, layer.is_first, layer.is_last,
                                                  layer.sums, layer.finish_layer}});
    }

    template <bool LEFT_SIGNED, class Layer>
    void multiply_bytes(const WeightBlock &block, const Layer &layer) {
        const bool wide_weights = block.weight_digits == 2;
        switch (block.left_digits) {
        case 1: return wide_weights ? bytes<1, 2, LEFT_SIGNED>(layer) : bytes<1, 1, LEFT_SIGNED>(layer);
        case 2: return wide_weights ? bytes<2, 2, LEFT_SIGNED>(layer) : bytes<2, 1, LEFT_SIGNED>(layer);
        case 3: return wide_weights ? bytes<3, 2, LEFT_SIGNED>(layer) : bytes<3, 1, LEFT_SIGNED>(layer);
        case 4: return bytes<4, 1, LEFT_SIGNED>(layer);
        case 5: return bytes<5, 1, LEFT_SIGNED>(layer);
        default: return bytes<6, 1, LEFT_SIGNED>(layer);
        }
    }

    template <int LEFT_DIGITS, int WEIGHT_DIGITS, bool LEFT_SIGNED, class Layer>
    void bytes(const Layer &layer) {
        // Hidden units have no sign and at most 20 bits: three digits.
        if constexpr (LEFT_SIGNED || LEFT_DIGITS <= 3) {
            stream_.launch(DigitProduct<Layer, LEFT_DIGITS, WEIGHT_DIGITS, LEFT_SIGNED>{layer});
        }
    }
};

}  // namespace h5zsae
