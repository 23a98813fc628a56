// Blends from several threads, each on a blender of its own and all on one, and compares with a serial run.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <thread>
#include <variant>
#include <vector>

#include "tile_blend.hpp"
#include "tile_plan.hpp"

using fantasyid::TileBlender;
using fantasyid::TilePlan;

namespace {

constexpr std::int64_t workers = 8, frames_each = 2, frames = workers * frames_each;

// Large enough that a call is divided among threads.
const TilePlan plan(120, 180, 50, 70, 13, 17);

std::vector<float> pixels_of(std::int64_t tile) {
    const auto [top, left, height, width] = plan.tile(tile);
    std::vector<float> made(3 * frames * height * width);
    std::uint32_t state = static_cast<std::uint32_t>(tile) + 1;
    for (auto& value : made) {
        state = state * 1664525u + 1013904223u;
        value = static_cast<float>(state >> 8) / (1 << 22) - 2;
    }
    return made;
}

void add(TileBlender& blender, std::int64_t tile, const std::vector<float>& pixels, std::int64_t first_frame,
         std::int64_t count) {
    const auto [top, left, height, width] = plan.tile(tile);
    const auto area = height * width;
    blender.add(tile, first_frame,
                {pixels.data() + first_frame * area, 3, count, height, width, frames * area, area, width});
}

template <class Level>
std::vector<Level> copy_of(const TileBlender& blender) {
    const auto* const data = std::get<std::unique_ptr<Level[]>>(blender.finished()).get();
    return {data, data + frames * plan.height() * plan.width() * 3};
}

bool refuses_first_tile(TileBlender& blender, const std::vector<float>& pixels) {
    try {
        add(blender, 0, pixels, 0, 1);
    } catch (const std::invalid_argument&) {
        return true;
    }
    return false;
}

template <class Level>
bool all_agree(const std::vector<std::vector<float>>& pixels) {
    constexpr auto bits = 8 * sizeof(Level);
    TileBlender serial(plan, frames, bits, 1);
    for (std::int64_t tile = 0; tile < plan.count(); ++tile) add(serial, tile, pixels[tile], 0, frames);
    const auto expected = copy_of<Level>(serial);

    TileBlender shared(plan, frames, bits, 3);
    std::vector<std::vector<Level>> own(workers);
    std::vector<std::thread> threads;
    for (std::int64_t worker = 0; worker < workers; ++worker) {
        threads.emplace_back([&, worker] {
            for (std::int64_t tile = 0; tile < plan.count(); ++tile) {
                add(shared, tile, pixels[tile], worker * frames_each, frames_each);
                shared.complete();
            }
            TileBlender blender(plan, frames, bits, 3);
            for (std::int64_t tile = 0; tile < plan.count(); ++tile) add(blender, tile, pixels[tile], 0, frames);
            own[worker] = copy_of<Level>(blender);
        });
    }
    for (auto& thread : threads) thread.join();
    return copy_of<Level>(shared) == expected && refuses_first_tile(shared, pixels[0]) &&
           std::all_of(own.begin(), own.end(), [&](auto& found) { return found == expected; });
}

}  // namespace

int main() {
    std::vector<std::vector<float>> pixels;
    for (std::int64_t tile = 0; tile < plan.count(); ++tile) pixels.push_back(pixels_of(tile));
    const bool agree = all_agree<std::uint8_t>(pixels) && all_agree<std::uint16_t>(pixels);
    std::puts(agree ? "all agree" : "results differ");
    return agree ? 0 : 1;
}
