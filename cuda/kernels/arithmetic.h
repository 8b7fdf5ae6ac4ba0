// The integer arithmetic of docs/format.md, "Network", one number at a time: the same source on the GPU and, for tests,
// on the host. Nothing here rounds in floating point.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define BOTH_SIDES __host__ __device__ inline
#else
#define BOTH_SIDES inline
#endif

namespace h5zsae {

template <class T>
BOTH_SIDES T clamp(T x, T least, T most) {
    return x < least ? least : x > most ? most : x;
}

// x / 2^shift, rounded to the nearest integer, halves upwards.
BOTH_SIDES int64_t rounding_shift(int64_t x, int shift) {
    return shift == 0 ? x : (x + (int64_t{1} << (shift - 1))) >> shift;
}

// x * 2^bits, or the end of the range that it is beyond.
BOTH_SIDES int64_t saturating_scale(int64_t x, int bits) {
    if (x > (INT64_MAX >> bits)) return INT64_MAX;
    if (x < (INT64_MIN >> bits)) return INT64_MIN;
    return x * (int64_t{1} << bits);
}

// x in units of 2^-from as an integer in units of 2^-to.
BOTH_SIDES int64_t rescale(int64_t x, int from, int to) {
    return from >= to ? rounding_shift(x, from - to) : saturating_scale(x, to - from);
}

// What a level of a linear atom adds to its coefficient. `quarter_octaves_q30`: 2^(i/4) for i from 0 to 3.
BOTH_SIDES int64_t linear_coef(int32_t level, int step_quarters, int frac_bits, const uint32_t *quarter_octaves_q30) {
    const int octaves = (step_quarters + 3) / 4;
    const int64_t in_q30 = int64_t{level} * int64_t{quarter_octaves_q30[4 * octaves - step_quarters]};
    const int bits = frac_bits - octaves;
    return bits < 30 ? rounding_shift(in_q30, 30 - bits) : saturating_scale(in_q30, bits - 30);
}

// A coefficient from its sum without linear atom, which is below 2^52, and what the atom adds.
BOTH_SIDES int64_t coefficient(int64_t rescaled_sum, int64_t linear, int bits) {
    // Far beyond the clamp below, and far from the end of the range: the sum cannot overflow.
    const int64_t far = int64_t{1} << 62;
    const int64_t largest = (int64_t{1} << bits) - 1;
    return clamp(rescaled_sum + clamp(linear, -far, far), -largest, largest);
}

enum class Transform : uint32_t { none = 0, sqrt = 1, log = 2 };

struct InverseTransform {
    Transform kind;
    int output_frac_bits;
    int64_t offset_q24;
    int64_t exponent_q24;
    const uint32_t *powers_q30;
};

// c * (2^e - 1) in Q30; beyond 2^31 any larger number.
BOTH_SIDES int64_t scaled_power_q30(const InverseTransform &inverse, int64_t exponent_q24) {
    if (exponent_q24 >= int64_t{32} << 24) return INT64_MAX;
    const int64_t rest = exponent_q24 & 0xffff;
    const uint32_t *entry = inverse.powers_q30 + (exponent_q24 >> 16 & 0xff);
    const int64_t low = entry[0], high = entry[1];
    const int64_t mantissa_q30 = low + rounding_shift((high - low) * rest, 16);
    const int64_t less_one = (mantissa_q30 << (exponent_q24 >> 24)) - (int64_t{1} << 30);
    // The product may have 87 bits, of which the lowest 24 are rounded away: 2^24 divides the part of the upper bits.
    const int64_t upper = less_one >> 24, lower = less_one & 0xffffff;
    return inverse.offset_q24 * upper + rounding_shift(inverse.offset_q24 * lower, 24);
}

// A value in Q30 from an output of the basis layer.
BOTH_SIDES int32_t value_q30(const InverseTransform &inverse, int64_t output) {
    int64_t value;
    if (inverse.kind == Transform::none) {
        value = rescale(output, inverse.output_frac_bits, 30);
    } else {
        const int64_t u = clamp(rescale(output, inverse.output_frac_bits, 24), int64_t{0}, int64_t{4} << 24);
        value = inverse.kind == Transform::sqrt
                    ? rounding_shift(u * u - (inverse.offset_q24 << 24), 18)
                    : scaled_power_q30(inverse, rounding_shift(u * inverse.exponent_q24, 24));
    }
    return static_cast<int32_t>(clamp(value, int64_t{INT32_MIN}, int64_t{INT32_MAX}));
}

// sum + the inner product of four bytes each, modulo 2^32; a side's bytes are two's complement where it is signed.
template <bool LEFT_SIGNED, bool RIGHT_SIGNED>
BOTH_SIDES uint32_t add_dot4(uint32_t left, uint32_t right, uint32_t sum) {
#if defined(__CUDA_ARCH__)
    if (LEFT_SIGNED && RIGHT_SIGNED) {
        asm("dp4a.s32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(left), "r"(right));
    } else if (LEFT_SIGNED) {
        asm("dp4a.s32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(left), "r"(right));
    } else if (RIGHT_SIGNED) {
        asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(sum) : "r"(left), "r"(right));
    } else {
        asm("dp4a.u32.u32 %0, %1, %2, %0;" : "+r"(sum) : "r"(left), "r"(right));
    }
    return sum;
#else
    for (int shift = 0; shift < 32; shift += 8) {
        const uint32_t a = left >> shift & 0xff, b = right >> shift & 0xff;
        const uint32_t wide_a = LEFT_SIGNED && a >= 0x80 ? a - 0x100 : a;
        const uint32_t wide_b = RIGHT_SIGNED && b >= 0x80 ? b - 0x100 : b;
        sum += wide_a * wide_b;
    }
    return sum;
#endif
}

}  // namespace h5zsae
