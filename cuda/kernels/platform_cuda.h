// The platform: CUDA's runtime.
#pragma once

#include <cuda_runtime.h>

namespace h5zsae {

constexpr const char *PLATFORM = "CUDA";

inline void require(cudaError_t outcome, const char *attempt) {
    if (outcome == cudaSuccess) return;
    throw Failure(std::string(attempt) + ": " + cudaGetErrorString(outcome));
}

struct DeviceSpace {
    static void *allocate(size_t bytes) {
        void *memory = nullptr;
        const std::string attempt = "allocating " + std::to_string(bytes) + " bytes on the GPU";
        require(cudaMalloc(&memory, bytes), attempt.c_str());
        return memory;
    }
    static void release(void *memory) { cudaFree(memory); }
};

struct PinnedSpace {
    static void *allocate(size_t bytes) {
        void *memory = nullptr;
        const std::string attempt = "pinning " + std::to_string(bytes) + " bytes of memory";
        require(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), attempt.c_str());
        return memory;
    }
    static void release(void *memory) { cudaFreeHost(memory); }
};

// Ends if the device is there and can be used by this build.
inline void probe_device(int ordinal) {
    int n_devices = 0;
    require(cudaGetDeviceCount(&n_devices), "looking for GPUs");
    if (ordinal >= n_devices) {
        throw Failure("there is no GPU " + std::to_string(ordinal) + ", only " + std::to_string(n_devices));
    }
}

// Makes a device the calling thread's, and gives the thread back the one it had: the program may have its own.
class DeviceScope {
  public:
    explicit DeviceScope(int ordinal) {
        require(cudaGetDevice(&before_), "asking for the thread's GPU");
        require(cudaSetDevice(ordinal), "choosing the GPU");
    }
    DeviceScope(const DeviceScope &) = delete;
    ~DeviceScope() { cudaSetDevice(before_); }

  private:
    int before_ = 0;
};

template <class Kernel>
__global__ void __launch_bounds__(Kernel::THREADS) run_kernel(const Kernel kernel) {
    __shared__ typename Kernel::Shared shared;
    typename Kernel::Thread own{};
    const Block block{blockIdx.x, blockIdx.y};
    const int n_phases = kernel.n_phases();
    for (int phase = 0; phase < n_phases; ++phase) {
        kernel.run(phase, block, static_cast<int>(threadIdx.x), shared, own);
        __syncthreads();
    }
}

// Ends when the copy is there. cudaMemcpy may return while what it has staged is still on its way, and our streams, which
// block for no other, would not wait for that.
inline void copy_to_device(void *to, const void *from, size_t bytes) {
    require(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copying to the GPU");
    require(cudaStreamSynchronize(cudaStreamLegacy), "copying to the GPU");
}

// Work that the device does in order, while the host goes on.
class Stream {
  public:
    Stream() { require(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
    Stream(const Stream &) = delete;
    ~Stream() { cudaStreamDestroy(stream_); }

    // Pinned memory to the device's; both must stay as they are until `wait` returns.
    void upload(void *to, const void *from, size_t bytes) {
        require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying to the GPU");
    }
    void download(void *to, const void *from, size_t bytes) {
        require(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying from the GPU");
    }
    template <class Kernel>
    void launch(const Kernel &kernel) {
        const Grid grid = kernel.grid();
        run_kernel<<<dim3(grid.cols, grid.rows), Kernel::THREADS, 0, stream_>>>(kernel);
        require(cudaGetLastError(), "starting a kernel");
    }
    void wait() { require(cudaStreamSynchronize(stream_), "running the network"); }

  private:
    cudaStream_t stream_ = nullptr;
};

}  // namespace h5zsae
