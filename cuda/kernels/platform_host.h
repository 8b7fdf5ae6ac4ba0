// The platform of tests: this machine's processor and memory. Threads of a phase run one after the other, every other
// phase backwards: a kernel whose threads depend on each other within a phase gives wrong numbers here, too.
#pragma once

#include <cstdlib>
#include <cstring>
#include <vector>

namespace h5zsae {

constexpr const char *PLATFORM = "host";

// There are two devices: 0, and 1, which gives no large pieces of memory, so that a shortage can be tested.
constexpr int N_DEVICES = 2;
constexpr size_t LARGEST_PIECE[N_DEVICES] = {SIZE_MAX, 3000};

inline thread_local int current_device = 0;

struct DeviceSpace {
    static void *allocate(size_t bytes) {
        void *memory = bytes > LARGEST_PIECE[current_device] ? nullptr : std::malloc(bytes ? bytes : 1);
        if (!memory) throw Failure("allocating " + std::to_string(bytes) + " bytes");
        // What a kernel reads before it is written is then no accidental zero.
        return std::memset(memory, 0xa5, bytes);
    }
    static void release(void *memory) { std::free(memory); }
};

using PinnedSpace = DeviceSpace;

inline void probe_device(int ordinal) {
    if (ordinal < N_DEVICES) return;
    throw Failure("there is no device " + std::to_string(ordinal) + ", only " + std::to_string(N_DEVICES));
}

class DeviceScope {
  public:
    explicit DeviceScope(int ordinal) : before_(current_device) { current_device = ordinal; }
    DeviceScope(const DeviceScope &) = delete;
    ~DeviceScope() { current_device = before_; }

  private:
    int before_;
};

inline void copy_to_device(void *to, const void *from, size_t bytes) {
    if (bytes) std::memcpy(to, from, bytes);
}

template <class Kernel>
void run_block(const Kernel &kernel, Block block) {
    static thread_local typename Kernel::Shared shared;
    std::memset(static_cast<void *>(&shared), 0x5a, sizeof shared);
    std::vector<typename Kernel::Thread> own(Kernel::THREADS);
    for (int phase = 0; phase < kernel.n_phases(); ++phase) {
        for (int i = 0; i < Kernel::THREADS; ++i) {
            const int thread = phase % 2 ? Kernel::THREADS - 1 - i : i;
            kernel.run(phase, block, thread, shared, own[thread]);
        }
    }
}

class Stream {
  public:
    void upload(void *to, const void *from, size_t bytes) { copy_to_device(to, from, bytes); }
    void download(void *to, const void *from, size_t bytes) { copy_to_device(to, from, bytes); }
    template <class Kernel>
    void launch(const Kernel &kernel) {
        const Grid grid = kernel.grid();
        for (unsigned row = 0; row < grid.rows; ++row) {
            for (unsigned col = 0; col < grid.cols; ++col) run_block(kernel, Block{col, row});
        }
    }
    void wait() {}
};

}  // namespace h5zsae
