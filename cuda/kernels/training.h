// A training on a device: weights, Adam's moments and activations stay there, batches come and sums go.
#pragma once

#include <vector>

#include "../include/h5zsae_cuda.h"
#include "training_layers.h"

namespace h5zsae {

class Training {
  public:
    explicit Training(const h5zsae_cuda_training_sizes &sizes)
        : n_components_(static_cast<int>(sizes.n_components)), n_hidden_(static_cast<int>(sizes.n_hidden)),
          n_latents_(static_cast<int>(sizes.n_latents)), most_patches_(sizes.most_patches) {
        const size_t k = sizes.n_components, m = sizes.n_hidden, l = sizes.n_latents, b = most_patches_;
        const size_t lens[] = {k * m, m, l * m, l, l * m, m, m * k, k};
        for (const size_t len : lens) {
            starts_.push_back(n_weights_);
            n_weights_ += len;
        }
        for (auto *numbers : {&weights_, &mean_, &square_, &gradient_}) numbers->reserve(n_weights_);
        for (auto *numbers : {&components_, &scaled_, &residual_, &slope_}) numbers->reserve(b * k);
        for (auto *numbers : {&encoder_hidden_, &hidden_, &hidden_gradient_}) numbers->reserve(b * m);
        for (auto *numbers : {&preactivations_, &code_, &refined_, &code_gradient_}) numbers->reserve(b * l);
        for (auto *numbers : {&unit_, &atoms_}) numbers->reserve(l * m);
        norms_.reserve(l);
        clip_scale_.reserve(1);
        square_sums_.reserve(SquareSums::n_pieces(n_weights_));
        fired_.reserve(l);
        n_entries_.reserve(b);
        for (auto *sums : {&sums_, &refined_sums_}) sums->reserve(b);
        input_scale_.reserve(k);
        pinned_.reserve(n_weights_ > b * k ? n_weights_ : b * k);
        pinned_fired_.reserve(l);
        pinned_sums_.reserve(b);
        upload(input_scale_, sizes.input_scale, k);
    }

    void write(const h5zsae_cuda_training_state &state) {
        upload(weights_, state.weights, n_weights_);
        upload(mean_, state.mean, n_weights_);
        upload(square_, state.square, n_weights_);
    }
    void read(const h5zsae_cuda_training_state &state) {
        download(state.weights, weights_);
        download(state.mean, mean_);
        download(state.square, square_);
    }

    void step(const h5zsae_cuda_training_step &step, const h5zsae_cuda_training_sums &out) {
        if (step.n_patches == 0 || step.n_patches > most_patches_) {
            throw Failure(std::to_string(step.n_patches) + " patches in a batch: 1 to " +
                          std::to_string(most_patches_) + " allowed");
        }
        upload(components_, step.components, size_t{step.n_patches} * n_components_);
        n_patches_ = static_cast<int>(step.n_patches);
        forward(step);
        backward_encoder(step);
        const bool refines = step.refines && !step.steps;
        if (refines) refine(step);
        backward_decoder(step, refines ? refined_.get() : code_.get());
        adam(step);
        report(step, refines ? refined_.get() : code_.get(), out);
    }

  private:
    // Tensors in the order of the weights.
    enum Tensor { INPUT, INPUT_BIAS, LATENT, LATENT_BIAS, HIDDEN, HIDDEN_BIAS, COEF, COEF_BIAS };
    // Numbers of the refinement's matrices at a time.
    static constexpr size_t LARGEST_JACOBIAN = size_t{1} << 24;
    static constexpr double DAMPING = 1e-2;

    int n_components_, n_hidden_, n_latents_;
    uint32_t most_patches_;
    int n_patches_ = 0;
    std::vector<size_t> starts_;
    size_t n_weights_ = 0;
    Stream stream_;
    DeviceArray<float> weights_, mean_, square_, gradient_, input_scale_;
    DeviceArray<float> components_, scaled_, residual_, slope_, encoder_hidden_, hidden_, hidden_gradient_;
    DeviceArray<float> preactivations_, code_, refined_, code_gradient_, unit_, atoms_, norms_, clip_scale_;
    DeviceArray<float> jacobian_;
    DeviceArray<double> systems_, square_sums_;
    DeviceArray<uint32_t> entry_index_, n_entries_, fired_;
    DeviceArray<PatchSums> sums_, refined_sums_;
    PinnedArray<float> pinned_;
    PinnedArray<uint32_t> pinned_fired_;
    PinnedArray<PatchSums> pinned_sums_;

    float *weight(Tensor tensor) { return weights_.get() + starts_[tensor]; }
    float *slope_of(Tensor tensor) { return gradient_.get() + starts_[tensor]; }

    void upload(DeviceArray<float> &to, const float *from, size_t len) {
        std::memcpy(pinned_.get(), from, len * sizeof(float));
        stream_.upload(to.get(), pinned_.get(), len * sizeof(float));
        // The pinned memory is used again.
        stream_.wait();
    }
    void download(float *to, const DeviceArray<float> &from) {
        stream_.download(pinned_.get(), from.get(), n_weights_ * sizeof(float));
        stream_.wait();
        std::memcpy(to, pinned_.get(), n_weights_ * sizeof(float));
    }

    template <class Body>
    void for_each(size_t len, const Body &body) {
        if (len) stream_.launch(ForEach<Body>{len, body});
    }
    template <class Finish>
    void product(int n_rows, int depth, int n_cols, MatrixView left, MatrixView right, const Finish &finish) {
        using Problem = MatrixProduct<Finish>;
        stream_.launch(NumberProduct<Problem>{Problem{n_rows, depth, n_cols, left, right, finish}});
    }
    void column_sums(int n_cols, const float *values, float factor, float *out) {
        for_each(n_cols, ColumnSum{n_patches_, n_cols, values, factor, out});
    }
    // Entries that a patch's code may have.
    int most_entries(const h5zsae_cuda_training_step &step) const {
        const int active = static_cast<int>(step.active);
        return active == 0 || active > n_latents_ ? n_latents_ : active;
    }

    void forward(const h5zsae_cuda_training_step &step) {
        const int b = n_patches_, k = n_components_, m = n_hidden_, l = n_latents_;
        stream_.launch(UnitRows{l, m, weight(HIDDEN), unit_.get(), norms_.get()});
        for_each(size_t(l) * m, CopyNumber{unit_.get(), atoms_.get()});
        if (step.steps) for_each(m, RunningSum{l, m, true, atoms_.get()});

        for_each(size_t(b) * k, ScaleColumns{k, components_.get(), input_scale_.get(), scaled_.get()});
        product(b, k, m, as_is(scaled_.get(), k), as_is(weight(INPUT), m),
                AddBias{weight(INPUT_BIAS), true, encoder_hidden_.get()});
        product(b, m, l, as_is(encoder_hidden_.get(), m), transposed(weight(LATENT), m),
                AddBias{weight(LATENT_BIAS), false, preactivations_.get()});
        const int most = most_entries(step);
        entry_index_.reserve(size_t(most_patches_) * most);
        stream_.launch(SelectEntries{b, l, most, step.steps != 0, preactivations_.get(), code_.get(),
                                     entry_index_.get(), n_entries_.get()});
        decode(step, code_.get());
    }

    void decode(const h5zsae_cuda_training_step &step, const float *code) {
        const int b = n_patches_, k = n_components_, m = n_hidden_, l = n_latents_;
        product(b, l, m, as_is(code, l), as_is(atoms_.get(), m), AddBias{weight(HIDDEN_BIAS), true, hidden_.get()});
        const float per_square =
            step.rate_scale == 0.0 ? 0.0f : static_cast<float>(1.0 / (step.rate_scale * step.rate_scale));
        product(b, m, k, as_is(hidden_.get(), m), as_is(weight(COEF), k),
                FinishResidual{weight(COEF_BIAS), components_.get(), per_square, residual_.get(), slope_.get()});
    }

    float patch_factor() const { return static_cast<float>(2.0 / n_patches_); }

    void through_decoder() {
        product(n_patches_, n_components_, n_hidden_, as_is(slope_.get(), n_components_),
                transposed(weight(COEF), n_components_),
                FinishGradient{patch_factor(), hidden_.get(), hidden_gradient_.get()});
    }

    void backward_encoder(const h5zsae_cuda_training_step &step) {
        const int b = n_patches_, k = n_components_, m = n_hidden_, l = n_latents_;
        const float l1_slope = static_cast<float>(step.sparsity_lambda / b);
        through_decoder();
        // Where entries are steps, the refined code's place is free.
        float *entry_gradient = step.steps ? refined_.get() : code_gradient_.get();
        product(b, m, l, as_is(hidden_gradient_.get(), m), transposed(atoms_.get(), m),
                FinishCodeGradient{code_.get(), l1_slope, entry_gradient});
        if (step.steps) {
            for_each(size_t(b) * l, ThroughSteps{l, preactivations_.get(), entry_gradient, code_gradient_.get()});
        }
        product(l, b, m, transposed(code_gradient_.get(), l), as_is(encoder_hidden_.get(), m),
                FinishGradient{1.0f, nullptr, slope_of(LATENT)});
        column_sums(l, code_gradient_.get(), 1.0f, slope_of(LATENT_BIAS));
        product(b, l, m, as_is(code_gradient_.get(), l), as_is(weight(LATENT), m),
                FinishGradient{1.0f, encoder_hidden_.get(), hidden_gradient_.get()});
        product(k, b, m, transposed(scaled_.get(), k), as_is(hidden_gradient_.get(), m),
                FinishGradient{1.0f, nullptr, slope_of(INPUT)});
        column_sums(m, hidden_gradient_.get(), 1.0f, slope_of(INPUT_BIAS));
    }

    void refine(const h5zsae_cuda_training_step &step) {
        const int k = n_components_, most = most_entries(step);
        const size_t widest = static_cast<size_t>(k > most + 1 ? k : most + 1), of_patch = widest * most;
        const size_t at_once = clamp(LARGEST_JACOBIAN / of_patch, size_t{1}, size_t{most_patches_});
        jacobian_.reserve(at_once * most * k);
        systems_.reserve(at_once * most * (most + 1));
        sum_patches(step, code_.get(), sums_);
        for_each(size_t(n_patches_) * n_latents_, CopyNumber{code_.get(), refined_.get()});
        for (int first = 0; first < n_patches_; first += static_cast<int>(at_once)) {
            const int rest = n_patches_ - first, n = rest < static_cast<int>(at_once) ? rest : at_once;
            move_codes(EntriesView{first, n, most, entry_index_.get(), n_entries_.get()});
        }
        decode(step, refined_.get());
        sum_patches(step, refined_.get(), refined_sums_);
        for_each(size_t(n_patches_) * n_latents_,
                 KeepBetter{n_latents_, sums_.get(), refined_sums_.get(), code_.get(), refined_.get()});
        decode(step, refined_.get());
    }

    void move_codes(const EntriesView &entries) {
        using Jacobian = NumberProduct<JacobianProduct>;
        stream_.launch(Jacobian{JacobianProduct{entries.n_patches * entries.most, n_hidden_, n_components_, entries,
                                                hidden_.get(), atoms_.get(), weight(COEF), jacobian_.get()}});
        stream_.launch(NormalEquations{entries, n_components_, DAMPING, jacobian_.get(), residual_.get(), slope_.get(),
                                       systems_.get()});
        for_each(entries.n_patches, MoveCodes{entries, n_latents_, systems_.get(), refined_.get()});
    }

    void backward_decoder(const h5zsae_cuda_training_step &step, const float *code) {
        const int b = n_patches_, k = n_components_, m = n_hidden_, l = n_latents_;
        through_decoder();
        product(m, b, k, transposed(hidden_.get(), m), as_is(slope_.get(), k),
                FinishGradient{patch_factor(), nullptr, slope_of(COEF)});
        column_sums(k, slope_.get(), patch_factor(), slope_of(COEF_BIAS));
        column_sums(m, hidden_gradient_.get(), 1.0f, slope_of(HIDDEN_BIAS));
        product(l, b, m, transposed(code, l), as_is(hidden_gradient_.get(), m),
                FinishGradient{1.0f, nullptr, slope_of(HIDDEN)});
        if (step.steps) for_each(m, RunningSum{l, m, false, slope_of(HIDDEN)});
        stream_.launch(ThroughNorm{l, m, unit_.get(), norms_.get(), slope_of(HIDDEN)});
    }

    void adam(const h5zsae_cuda_training_step &step) {
        stream_.launch(SquareSums{n_weights_, gradient_.get(), square_sums_.get()});
        stream_.launch(ClipScale{SquareSums::n_pieces(n_weights_), square_sums_.get(), step.clip_norm,
                                 clip_scale_.get()});
        for_each(n_weights_, AdamStep{step.beta1, step.beta2, step.epsilon, step.learning_rate, step.mean_correction,
                                      step.square_correction, clip_scale_.get(), gradient_.get(), weights_.get(),
                                      mean_.get(), square_.get()});
    }

    void sum_patches(const h5zsae_cuda_training_step &step, const float *code, DeviceArray<PatchSums> &out) {
        stream_.launch(SumPatches{n_patches_, n_components_, n_latents_, step.rate_scale, residual_.get(), code,
                                  out.get()});
    }

    void report(const h5zsae_cuda_training_step &step, const float *code, const h5zsae_cuda_training_sums &out) {
        sum_patches(step, code, sums_);
        for_each(n_latents_, CountFired{n_patches_, n_latents_, code_.get(), fired_.get()});
        uint32_t *fired = pinned_fired_.get();
        stream_.download(pinned_sums_.get(), sums_.get(), n_patches_ * sizeof(PatchSums));
        stream_.download(fired, fired_.get(), n_latents_ * sizeof(uint32_t));
        stream_.wait();
        *out.squared_error = *out.distortion = *out.l1 = 0.0;
        for (int patch = 0; patch < n_patches_; ++patch) {
            *out.squared_error += pinned_sums_.get()[patch].squared_error;
            *out.distortion += pinned_sums_.get()[patch].distortion;
            *out.l1 += pinned_sums_.get()[patch].l1;
        }
        std::memcpy(out.fired, fired, n_latents_ * sizeof(uint32_t));
    }
};

}  // namespace h5zsae
