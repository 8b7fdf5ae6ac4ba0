// Where kernels run. A kernel is a struct of this form:
//
//     static constexpr int THREADS;                      threads of a block
//     struct Shared;  struct Thread;                     memory of a block; of a thread, zero at first
//     Grid grid() const;  int n_phases() const;
//     BOTH_SIDES void run(int phase, Block block, int thread, Shared &shared, Thread &own) const;
//
// Between two phases all threads of a block meet; within one they see nothing of each other. So a host can run the
// threads of a phase one after the other, in any order, and the same source gives the same numbers there.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <utility>

#include "arithmetic.h"

namespace h5zsae {

struct Grid {
    unsigned cols, rows;
};

struct Block {
    unsigned col, row;
};

// Why something could not be done, as a sentence.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

BOTH_SIDES unsigned ceil_div(unsigned a, unsigned b) { return (a + b - 1) / b; }

}  // namespace h5zsae

#if defined(__CUDACC__)
#include "platform_cuda.h"
#else
#include "platform_host.h"
#endif

namespace h5zsae {

// Memory of the device or pinned memory of the host, by `Space`; grows, never shrinks.
template <class T, class Space>
class Array {
  public:
    Array() = default;
    explicit Array(size_t len) { reserve(len); }
    Array(Array &&other) noexcept { *this = std::move(other); }
    Array &operator=(Array &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(len_, other.len_);
        return *this;
    }
    Array(const Array &) = delete;
    Array &operator=(const Array &) = delete;
    ~Array() { Space::release(data_); }

    // Room for `len` elements. What was there is lost if there was less.
    void reserve(size_t len) {
        if (len <= len_) return;
        Space::release(data_);
        data_ = nullptr;
        len_ = 0;
        data_ = static_cast<T *>(Space::allocate(len * sizeof(T)));
        len_ = len;
    }

    T *get() const { return data_; }

  private:
    T *data_ = nullptr;
    size_t len_ = 0;
};

template <class T>
using DeviceArray = Array<T, DeviceSpace>;
template <class T>
using PinnedArray = Array<T, PinnedSpace>;

// A copy of `len` elements in the device's memory.
template <class T>
DeviceArray<T> to_device(const T *values, size_t len) {
    DeviceArray<T> copy(len);
    copy_to_device(copy.get(), values, len * sizeof(T));
    return copy;
}

}  // namespace h5zsae
