// Matrix products in tiles: a block makes TILE_ROWS x TILE_COLS sums, a thread ROWS x COLS of them, and TILE_DEPTH
// terms of each at a time come through the block's shared memory.
//
// What is multiplied and what becomes of a sum is the problem's affair:
//
//     int n_rows, depth, n_cols
//     left(row, k), right(k, col)        for products of single numbers
//     left(row, k), word(digit, k / 4, col)        for products of bytes
//     finish(row, col, sum)
#pragma once

#include "platform.h"

namespace h5zsae {

constexpr int TILE_ROWS = 32, TILE_COLS = 64, TILE_DEPTH = 32;
constexpr int PRODUCT_THREADS = 256;
// A thread's sums lie STRIDE rows and columns apart, so that neighbours among threads have neighbouring columns.
constexpr int STRIDE = 16, ROWS = TILE_ROWS / STRIDE, COLS = TILE_COLS / STRIDE;
static_assert(STRIDE * STRIDE == PRODUCT_THREADS, "each thread has its place in a square");

// Phases: each step of the depth loads and then adds; after the last step the sums are finished.
struct ProductPhases {
    Block block;
    int thread;

    BOTH_SIDES int tile_row(int i) const { return thread / STRIDE + STRIDE * i; }
    BOTH_SIDES int tile_col(int j) const { return thread % STRIDE + STRIDE * j; }
    BOTH_SIDES int first_row() const { return static_cast<int>(block.row) * TILE_ROWS; }
    BOTH_SIDES int first_col() const { return static_cast<int>(block.col) * TILE_COLS; }
};

template <class Problem>
BOTH_SIDES Grid product_grid(const Problem &problem) {
    return Grid{ceil_div(problem.n_cols, TILE_COLS), ceil_div(problem.n_rows, TILE_ROWS)};
}

template <class Problem>
BOTH_SIDES int n_product_phases(const Problem &problem) {
    return 2 * static_cast<int>(ceil_div(problem.depth, TILE_DEPTH)) + 1;
}

// Calls finish for a thread's sums that lie within the matrix.
template <class Problem, class SumOf>
BOTH_SIDES void finish_sums(const Problem &problem, const ProductPhases &at, const SumOf &sum_of) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < COLS; ++j) {
            const int row = at.first_row() + at.tile_row(i), col = at.first_col() + at.tile_col(j);
            if (row < problem.n_rows && col < problem.n_cols) problem.finish(row, col, sum_of.sum(i, j));
        }
    }
}

// Products of single numbers, added in the problem's `Sum`.
template <class Problem>
struct NumberProduct {
    using Left = typename Problem::Left;
    using Right = typename Problem::Right;
    using Sum = typename Problem::Sum;
    static constexpr int THREADS = PRODUCT_THREADS;

    struct Shared {
        Left left[TILE_DEPTH][TILE_ROWS];
        Right right[TILE_DEPTH][TILE_COLS];
    };
    struct Thread {
        Sum sums[ROWS][COLS];
        BOTH_SIDES Sum sum(int i, int j) const { return sums[i][j]; }
    };

    Problem problem;

    BOTH_SIDES Grid grid() const { return product_grid(problem); }
    BOTH_SIDES int n_phases() const { return n_product_phases(problem); }

    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &own) const {
        const ProductPhases at{block, thread};
        if (phase == n_phases() - 1) return finish_sums(problem, at, own);
        if (phase % 2 == 0) return load(at, phase / 2 * TILE_DEPTH, shared);
        add(at, shared, own);
    }

    BOTH_SIDES void load(const ProductPhases &at, int first_k, Shared &shared) const {
        for (int i = at.thread; i < TILE_DEPTH * TILE_ROWS; i += THREADS) {
            const int row = i / TILE_DEPTH, k = i % TILE_DEPTH;
            const bool inside = at.first_row() + row < problem.n_rows && first_k + k < problem.depth;
            shared.left[k][row] = inside ? problem.left(at.first_row() + row, first_k + k) : Left(0);
        }
        for (int i = at.thread; i < TILE_DEPTH * TILE_COLS; i += THREADS) {
            const int k = i / TILE_COLS, col = i % TILE_COLS;
            const bool inside = at.first_col() + col < problem.n_cols && first_k + k < problem.depth;
            shared.right[k][col] = inside ? problem.right(first_k + k, at.first_col() + col) : Right(0);
        }
    }

    BOTH_SIDES void add(const ProductPhases &at, const Shared &shared, Thread &own) const {
        for (int k = 0; k < TILE_DEPTH; ++k) {
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
#pragma unroll
                for (int j = 0; j < COLS; ++j) {
                    own.sums[i][j] += static_cast<Sum>(shared.left[k][at.tile_row(i)]) *
                                      static_cast<Sum>(shared.right[k][at.tile_col(j)]);
                }
            }
        }
    }
};

// Products of integers by their bytes: left = sum of 2^(8a) times its digit a, the weights likewise with b, and for
// each pair of digits the inner products of four at a time. Digits are unsigned but the highest, which is two's complement
// where the number has a sign.
//
// A sum over 2^16 terms stays below 2^32 where both digits are unsigned (2^16 * 255 * 255) and within 2^31 where one is
// signed (2^16 * 255 * 128), so 32 bits hold it exactly.
template <class Problem, int LEFT_DIGITS, int WEIGHT_DIGITS, bool LEFT_SIGNED>
struct DigitProduct {
    static constexpr int THREADS = PRODUCT_THREADS;
    static constexpr int WORDS = TILE_DEPTH / 4;
    static_assert(WORDS * TILE_ROWS == THREADS, "each thread loads one word of the left side for each digit");

    struct Shared {
        // One column more: the rows that a warp reads then lie in different banks.
        uint32_t left[LEFT_DIGITS][TILE_ROWS][WORDS + 1];
        uint32_t weights[WEIGHT_DIGITS][WORDS][TILE_COLS];
    };
    struct Thread {
        uint32_t sums[LEFT_DIGITS][WEIGHT_DIGITS][ROWS][COLS];

        BOTH_SIDES int64_t sum(int i, int j) const {
            int64_t total = 0;
#pragma unroll
            for (int a = 0; a < LEFT_DIGITS; ++a) {
#pragma unroll
                for (int b = 0; b < WEIGHT_DIGITS; ++b) {
                    const uint32_t digits = sums[a][b][i][j];
                    const bool has_sign = is_signed_left(a) || is_signed_weight(b);
                    const int64_t exact = has_sign ? int64_t{static_cast<int32_t>(digits)} : int64_t{digits};
                    total += exact * (int64_t{1} << 8 * (a + b));
                }
            }
            return total;
        }
    };

    Problem problem;

    BOTH_SIDES static constexpr bool is_signed_left(int a) { return LEFT_SIGNED && a == LEFT_DIGITS - 1; }
    BOTH_SIDES static constexpr bool is_signed_weight(int b) { return b == WEIGHT_DIGITS - 1; }

    BOTH_SIDES Grid grid() const { return product_grid(problem); }
    BOTH_SIDES int n_phases() const { return n_product_phases(problem); }

    BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &own) const {
        const ProductPhases at{block, thread};
        if (phase == n_phases() - 1) return finish_sums(problem, at, own);
        if (phase % 2) return add(at, shared, own);
        load_left(at, phase / 2 * TILE_DEPTH, shared);
        load_weights(at, phase / 2 * WORDS, shared);
    }

    BOTH_SIDES void load_left(const ProductPhases &at, int first_k, Shared &shared) const {
        const int tile_row = at.thread / WORDS, word = at.thread % WORDS;
        const int row = at.first_row() + tile_row;
        uint32_t words[LEFT_DIGITS] = {};
#pragma unroll
        for (int byte = 0; byte < 4; ++byte) {
            const int k = first_k + 4 * word + byte;
            const bool inside = row < problem.n_rows && k < problem.depth;
            const int64_t number = inside ? problem.left(row, k) : 0;
#pragma unroll
            for (int a = 0; a < LEFT_DIGITS; ++a) {
                words[a] |= static_cast<uint32_t>(number >> 8 * a & 0xff) << 8 * byte;
            }
        }
#pragma unroll
        for (int a = 0; a < LEFT_DIGITS; ++a) shared.left[a][tile_row][word] = words[a];
    }

    BOTH_SIDES void load_weights(const ProductPhases &at, int first_word, Shared &shared) const {
        for (int i = at.thread; i < WORDS * TILE_COLS; i += THREADS) {
            const int word = i / TILE_COLS, tile_col = i % TILE_COLS, col = at.first_col() + tile_col;
            const bool inside = col < problem.n_cols && 4 * (first_word + word) < problem.depth;
#pragma unroll
            for (int b = 0; b < WEIGHT_DIGITS; ++b) {
                shared.weights[b][word][tile_col] = inside ? problem.word(b, first_word + word, col) : 0;
            }
        }
    }

    BOTH_SIDES void add(const ProductPhases &at, const Shared &shared, Thread &own) const {
        for (int word = 0; word < WORDS; ++word) {
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
#pragma unroll
                for (int j = 0; j < COLS; ++j) add_word(at, shared, word, i, j, own);
            }
        }
    }

    BOTH_SIDES void add_word(const ProductPhases &at, const Shared &shared, int word, int i, int j, Thread &own) const {
#pragma unroll
        for (int a = 0; a < LEFT_DIGITS; ++a) {
#pragma unroll
            for (int b = 0; b < WEIGHT_DIGITS; ++b) {
                const uint32_t left = shared.left[a][at.tile_row(i)][word];
                const uint32_t weights = shared.weights[b][word][at.tile_col(j)];
                uint32_t &sum = own.sums[a][b][i][j];
                if (is_signed_left(a)) {
                    sum = is_signed_weight(b) ? add_dot4<true, true>(left, weights, sum)
                                              : add_dot4<true, false>(left, weights, sum);
                } else {
                    sum = is_signed_weight(b) ? add_dot4<false, true>(left, weights, sum)
                                              : add_dot4<false, false>(left, weights, sum);
                }
            }
        }
    }
};

}  // namespace h5zsae
