#include "parallel.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

namespace fantasyid {

std::int64_t resolve_threads(std::int64_t threads) {
    const std::int64_t hardware = std::thread::hardware_concurrency();
    return threads > 0 ? threads : std::clamp<std::int64_t>(hardware, 1, max_threads);
}

void parallel_for(std::int64_t count, std::int64_t grain, std::int64_t threads,
                  const std::function<void(std::int64_t, std::int64_t)>& work) {
    std::atomic<std::int64_t> next{0};
    const auto take_pieces = [&] {
        for (auto begin = next.fetch_add(grain); begin < count; begin = next.fetch_add(grain)) {
            work(begin, std::min(begin + grain, count));
        }
    };
    const auto helpers_wanted = std::min(threads, (count + grain - 1) / grain) - 1;
    std::vector<std::thread> helpers;
    helpers.reserve(helpers_wanted);
    try {
        for (std::int64_t i = 0; i < helpers_wanted; ++i) helpers.emplace_back(take_pieces);
    } catch (const std::exception&) {
        // The machine has no thread or memory to spare: those that did start, and this one, take all pieces.
    }
    take_pieces();
    for (auto& helper : helpers) helper.join();
}

}  // namespace fantasyid
