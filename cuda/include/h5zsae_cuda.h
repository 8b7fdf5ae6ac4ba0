/*
 * libh5zsae_cuda.so: the layers of a network on an NVIDIA GPU, for libh5zsae.so, which opens this library when it is
 * asked to. Not an interface for programs: both sides are of one version, and h5zsae_cuda_abi_version() says which.
 *
 * Matrices are row-major. Names of sizes are those of docs/format.md: n values in a patch, n' of them stored, l
 * latents, m hidden units, K linear atoms, the first K' of them the network's.
 *
 * Functions return 0, or 1 with a sentence in `message`, which is cut off to fit and ends with NUL. Handles may be used
 * by several threads at once, but not in a process that was forked off the one that made them.
 */
#ifndef H5ZSAE_CUDA_H
#define H5ZSAE_CUDA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes with every change of this file or of what its functions mean. */
#define H5ZSAE_CUDA_ABI_VERSION 2u

#define H5ZSAE_CUDA_TRANSFORM_NONE 0u
#define H5ZSAE_CUDA_TRANSFORM_SQRT 1u
#define H5ZSAE_CUDA_TRANSFORM_LOG 2u

typedef struct h5zsae_cuda_device h5zsae_cuda_device;
typedef struct h5zsae_cuda_network h5zsae_cuda_network;
typedef struct h5zsae_cuda_training h5zsae_cuda_training;

/* Where a function writes why it failed. */
typedef struct {
    char *text;
    size_t bytes;
} h5zsae_cuda_message;

/* Rows of a matrix of weights. */
typedef struct {
    const int16_t *weights; /* rows x columns of its layer */
    uint32_t rows;
    uint32_t weight_bits; /* 8 or 16: the width that the model file states */
} h5zsae_cuda_block;

/* A checked model. Everything is copied by h5zsae_cuda_network_new. */
typedef struct {
    uint32_t n_values, n_stored, n_latents, n_hidden, n_coefs, n_linear;

    const void *hidden; /* l x m: int8_t, int16_t, or for sums of rows int32_t */
    uint32_t hidden_weight_bits; /* 8, 16 or 32 */
    const int32_t *hidden_bias; /* m */
    uint32_t hidden_shift, hidden_bits;

    h5zsae_cuda_block coef; /* m x K'; no rows where the hidden units are the coefficients */
    const int32_t *coef_bias; /* K */
    const uint8_t *coef_shift; /* K */
    const uint8_t *coef_frac_bits; /* K */
    uint32_t coef_bits;

    const h5zsae_cuda_block *basis; /* together K x n' */
    uint32_t n_basis_blocks;
    const int64_t *mean; /* n' */
    uint32_t output_frac_bits;

    uint32_t transform; /* H5ZSAE_CUDA_TRANSFORM_... */
    uint32_t offset_q24;
    int64_t log_exponent_q24;
    const uint32_t *powers_q30; /* 257: 2^(i/256) */
    const uint32_t *quarter_octaves_q30; /* 4: 2^(i/4) */

    const float *basis_real; /* K x n' */
    const float *inverse_norms; /* K */
    const float *mean_real; /* n */
    const float *input; /* K' x m; n x m where input_is_direct */
    const float *input_bias; /* m */
    const float *latent; /* m x l */
    const float *latent_bias; /* l */
    uint32_t input_is_direct;
} h5zsae_cuda_model;

/* Checked codes of patches. Entries of patch i are those from start[i] to start[i + 1], indices ascending. */
typedef struct {
    uint32_t n_patches;
    const uint32_t *latent_start; /* n_patches + 1 */
    const uint32_t *latent_index;
    const int32_t *latent_step; /* level * 2^(latent_frac_bits - t) */
    const uint32_t *linear_start; /* n_patches + 1 */
    const uint32_t *linear_index;
    const int32_t *linear_level;
    const uint8_t *linear_step_quarters; /* n_patches */
} h5zsae_cuda_codes;

/* A network to be trained: train/src/network.rs. */
typedef struct {
    uint32_t n_components, n_hidden, n_latents; /* K', m, l */
    uint32_t most_patches; /* of a batch */
    const float *input_scale; /* K' */
} h5zsae_cuda_training_sizes;

/* All weights and Adam's means of gradients and of their squares, one tensor after the other: input K' x m and its
 * bias, latent l x m and its bias, hidden l x m and its bias, coef m x K' and its bias. */
typedef struct {
    float *weights, *mean, *square;
} h5zsae_cuda_training_state;

/* What one step is made of. */
typedef struct {
    uint32_t n_patches;
    uint32_t active; /* entries kept in a code; 0: all */
    uint32_t steps; /* codes are steps of the latents, not these: the penalty `grad` */
    uint32_t refines; /* the decoder learns from refined codes */
    const float *components; /* n_patches x K' */
    double sparsity_lambda, rate_scale;
    float learning_rate, clip_norm, beta1, beta2, epsilon;
    float mean_correction, square_correction; /* 1 / (1 - beta^n) after n steps */
} h5zsae_cuda_training_step;

/* Sums over the batch, before the step. */
typedef struct {
    double *squared_error, *distortion, *l1;
    uint32_t *fired; /* l: patches in which each latent took part */
} h5zsae_cuda_training_sums;

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

uint32_t h5zsae_cuda_abi_version(void);

/* What runs the kernels: "CUDA", or "host" in a build for tests. */
const char *h5zsae_cuda_platform(void);

/* A device by its number, from 0. */
int h5zsae_cuda_device_new(uint32_t ordinal, h5zsae_cuda_device **device, h5zsae_cuda_message message);
void h5zsae_cuda_device_free(h5zsae_cuda_device *device);

/* A model's weights in the device's memory. The device must outlive it. */
int h5zsae_cuda_network_new(h5zsae_cuda_device *device, const h5zsae_cuda_model *model,
                            h5zsae_cuda_network **network, h5zsae_cuda_message message);
void h5zsae_cuda_network_free(h5zsae_cuda_network *network);

/* n values for each patch, in Q30. Equal bits on every device and on every CPU. */
int h5zsae_cuda_decode(h5zsae_cuda_network *network, const h5zsae_cuda_codes *codes, int32_t *values,
                       h5zsae_cuda_message message);

/* The same before the transform is undone, in real units. */
int h5zsae_cuda_reconstruct(h5zsae_cuda_network *network, const h5zsae_cuda_codes *codes, float *values,
                            h5zsae_cuda_message message);

/* l latents of each of n_patches x n transformed values; all of them, before the largest are chosen. */
int h5zsae_cuda_latents(h5zsae_cuda_network *network, uint32_t n_patches, const float *patches, float *latents,
                        h5zsae_cuda_message message);

/* K inner products of each of n_patches x n values with the rows of the basis, over their squared norms. */
int h5zsae_cuda_project(h5zsae_cuda_network *network, uint32_t n_patches, const float *residual, float *coefs,
                        h5zsae_cuda_message message);

/* A training in the device's memory, for one thread at a time; its weights are not set. The device must outlive it. */
int h5zsae_cuda_training_new(h5zsae_cuda_device *device, const h5zsae_cuda_training_sizes *sizes,
                             h5zsae_cuda_training **training, h5zsae_cuda_message message);
void h5zsae_cuda_training_free(h5zsae_cuda_training *training);

/* Copies weights and moments to the device, or from it. */
int h5zsae_cuda_training_write(h5zsae_cuda_training *training, const h5zsae_cuda_training_state *state,
                               h5zsae_cuda_message message);
int h5zsae_cuda_training_read(h5zsae_cuda_training *training, const h5zsae_cuda_training_state *state,
                              h5zsae_cuda_message message);

/* Moves the weights one step against the gradient of a batch's loss. After a failure they are not what they were. */
int h5zsae_cuda_training_advance(h5zsae_cuda_training *training, const h5zsae_cuda_training_step *step,
                                  const h5zsae_cuda_training_sums *sums, h5zsae_cuda_message message);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
