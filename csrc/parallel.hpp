#pragma once

#include <cstdint>
#include <functional>

namespace fantasyid {

inline constexpr std::int64_t max_threads = 1024;

// `threads` itself, or for 0 the machine's hardware threads.
std::int64_t resolve_threads(std::int64_t threads);

// Calls `work(begin, end)` for all of 0 to `count`, in pieces of at most `grain`, on at most `threads` threads of which
// the caller's is one. `work` must not throw.
void parallel_for(std::int64_t count, std::int64_t grain, std::int64_t threads,
                  const std::function<void(std::int64_t, std::int64_t)>& work);

}  // namespace fantasyid
