// libh5zsae_cuda.so: include/h5zsae_cuda.h on top of the kernels. Compiled by nvcc for GPUs, and by a C++ compiler for
// tests of the same arithmetic on the host.
#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>

#include "lane.h"
#include "training.h"

using h5zsae::DeviceScope;
using h5zsae::Lane;
using h5zsae::Network;

struct h5zsae_cuda_device {
    int ordinal;
};

struct h5zsae_cuda_network {
    int ordinal;
    std::unique_ptr<Network> network;

    // A lane that nobody uses; null if there is none and `wait` is not set.
    Lane *take_lane(bool wait) {
        std::unique_lock<std::mutex> lock(mutex_);
        if (free_.empty() && lanes_.size() < MOST_LANES) {
            lanes_.push_back(std::make_unique<Lane>());
            free_.push_back(lanes_.back().get());
        }
        if (free_.empty() && !wait) return nullptr;
        is_free_.wait(lock, [this] { return !free_.empty(); });
        Lane *lane = free_.back();
        free_.pop_back();
        return lane;
    }
    void give_back(Lane *lane) {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            free_.push_back(lane);
        }
        is_free_.notify_one();
    }

  private:
    // Enough that copies in both directions and kernels overlap.
    static constexpr size_t MOST_LANES = 4;

    std::mutex mutex_;
    std::condition_variable is_free_;
    std::vector<std::unique_ptr<Lane>> lanes_;
    std::vector<Lane *> free_;
};

struct h5zsae_cuda_training {
    int ordinal;
    std::unique_ptr<h5zsae::Training> training;
};

namespace {

// Batches of one call that are under way, oldest first. A call that has one waits for no other call's lane, so that
// calls cannot wait for each other.
class Batches {
  public:
    explicit Batches(h5zsae_cuda_network &network) : network_(network) {}
    Batches(const Batches &) = delete;
    ~Batches() {
        for (const UnderWay &batch : under_way_) {
            batch.lane->abandon();
            network_.give_back(batch.lane);
        }
    }

    // A lane whose result goes to `out` once it has been started.
    Lane &next(void *out) {
        Lane *lane = network_.take_lane(under_way_.empty());
        // More than once where another call takes the lane that this one has just given back.
        while (!lane) {
            finish_oldest();
            lane = network_.take_lane(under_way_.empty());
        }
        under_way_.push_back(UnderWay{lane, out});
        return *lane;
    }
    void finish() {
        while (!under_way_.empty()) finish_oldest();
    }

  private:
    struct UnderWay {
        Lane *lane;
        void *out;
    };

    h5zsae_cuda_network &network_;
    std::deque<UnderWay> under_way_;

    void finish_oldest() {
        under_way_.front().lane->finish(under_way_.front().out);
        network_.give_back(under_way_.front().lane);
        under_way_.pop_front();
    }
};

// Runs the body and maps what it throws.
template <class Body>
int call(h5zsae_cuda_message message, const Body &body) {
    try {
        body();
        return 0;
    } catch (const std::exception &failure) {
        if (message.text && message.bytes) std::snprintf(message.text, message.bytes, "%s", failure.what());
        return 1;
    }
}

// Runs `start(lane, first, n_patches)` for batches of patches, each of which gives `out_len` numbers for a patch.
template <class Start>
void in_batches(h5zsae_cuda_network &network, uint32_t n_patches, size_t out_len, void *out, const Start &start) {
    const DeviceScope scope(network.ordinal);
    Batches batches(network);
    for (uint32_t first = 0; first < n_patches; first += network.network->batch_len) {
        const uint32_t n_batch = std::min(network.network->batch_len, n_patches - first);
        start(batches.next(static_cast<uint32_t *>(out) + first * out_len), first, n_batch);
    }
    batches.finish();
}

void decode(h5zsae_cuda_network &network, const h5zsae_cuda_codes &codes, void *out, bool as_reals) {
    const Network &net = *network.network;
    in_batches(network, codes.n_patches, net.decoder.n_values, out, [&](Lane &lane, uint32_t first, uint32_t n_batch) {
        lane.decode(net, codes, first, n_batch, as_reals);
    });
}

}  // namespace

extern "C" {

uint32_t h5zsae_cuda_abi_version(void) { return H5ZSAE_CUDA_ABI_VERSION; }

const char *h5zsae_cuda_platform(void) { return h5zsae::PLATFORM; }

int h5zsae_cuda_device_new(uint32_t ordinal, h5zsae_cuda_device **device, h5zsae_cuda_message message) {
    return call(message, [&] {
        *device = nullptr;
        const int number = ordinal > INT32_MAX ? INT32_MAX : static_cast<int>(ordinal);
        h5zsae::probe_device(number);
        const DeviceScope scope(number);
        // The first stream makes the device ready: what is wrong with it shows here.
        h5zsae::Stream().wait();
        *device = new h5zsae_cuda_device{number};
    });
}

void h5zsae_cuda_device_free(h5zsae_cuda_device *device) { delete device; }

int h5zsae_cuda_network_new(h5zsae_cuda_device *device, const h5zsae_cuda_model *model, h5zsae_cuda_network **network,
                            h5zsae_cuda_message message) {
    return call(message, [&] {
        *network = nullptr;
        const DeviceScope scope(device->ordinal);
        auto made = std::make_unique<h5zsae_cuda_network>();
        made->ordinal = device->ordinal;
        made->network = std::make_unique<Network>(*model);
        *network = made.release();
    });
}

void h5zsae_cuda_network_free(h5zsae_cuda_network *network) {
    if (!network) return;
    call(h5zsae_cuda_message{}, [&] {
        const DeviceScope scope(network->ordinal);
        delete network;
    });
}

int h5zsae_cuda_decode(h5zsae_cuda_network *network, const h5zsae_cuda_codes *codes, int32_t *values,
                       h5zsae_cuda_message message) {
    return call(message, [&] { decode(*network, *codes, values, false); });
}

int h5zsae_cuda_reconstruct(h5zsae_cuda_network *network, const h5zsae_cuda_codes *codes, float *values,
                            h5zsae_cuda_message message) {
    return call(message, [&] { decode(*network, *codes, values, true); });
}

int h5zsae_cuda_latents(h5zsae_cuda_network *network, uint32_t n_patches, const float *patches, float *latents,
                        h5zsae_cuda_message message) {
    return call(message, [&] {
        const Network &net = *network->network;
        const size_t n_values = net.decoder.n_values;
        in_batches(*network, n_patches, net.n_latents, latents, [&](Lane &lane, uint32_t first, uint32_t n_batch) {
            lane.latents(net, patches + first * n_values, n_batch);
        });
    });
}

int h5zsae_cuda_project(h5zsae_cuda_network *network, uint32_t n_patches, const float *residual, float *coefs,
                        h5zsae_cuda_message message) {
    return call(message, [&] {
        const Network &net = *network->network;
        const size_t n_values = net.decoder.n_values;
        in_batches(*network, n_patches, net.decoder.n_linear, coefs, [&](Lane &lane, uint32_t first, uint32_t n_batch) {
            lane.project(net, residual + first * n_values, n_batch);
        });
    });
}

int h5zsae_cuda_training_new(h5zsae_cuda_device *device, const h5zsae_cuda_training_sizes *sizes,
                             h5zsae_cuda_training **training, h5zsae_cuda_message message) {
    return call(message, [&] {
        *training = nullptr;
        const DeviceScope scope(device->ordinal);
        auto made = std::make_unique<h5zsae_cuda_training>();
        made->ordinal = device->ordinal;
        made->training = std::make_unique<h5zsae::Training>(*sizes);
        *training = made.release();
    });
}

void h5zsae_cuda_training_free(h5zsae_cuda_training *training) {
    if (!training) return;
    call(h5zsae_cuda_message{}, [&] {
        const DeviceScope scope(training->ordinal);
        delete training;
    });
}

int h5zsae_cuda_training_write(h5zsae_cuda_training *training, const h5zsae_cuda_training_state *state,
                               h5zsae_cuda_message message) {
    return call(message, [&] {
        const DeviceScope scope(training->ordinal);
        training->training->write(*state);
    });
}

int h5zsae_cuda_training_read(h5zsae_cuda_training *training, const h5zsae_cuda_training_state *state,
                              h5zsae_cuda_message message) {
    return call(message, [&] {
        const DeviceScope scope(training->ordinal);
        training->training->read(*state);
    });
}

int h5zsae_cuda_training_advance(h5zsae_cuda_training *training, const h5zsae_cuda_training_step *step,
                                  const h5zsae_cuda_training_sums *sums, h5zsae_cuda_message message) {
    return call(message, [&] {
        const DeviceScope scope(training->ordinal);
        training->training->step(*step, *sums);
    });
}

}  // extern "C"
