#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <variant>
#include <vector>

#include "seam_map.hpp"
#include "tile_plan.hpp"

namespace fantasyid {

// Decoded pixels [3, frames, height, width] of one tile; a row's pixels lie side by side, strides count floats.
struct TilePixels {
    const float* data;
    std::int64_t channels, frames, height, width;
    std::int64_t channel_stride, frame_stride, row_stride;
};

// Feathers decoded tiles into one buffer [frames, height, width, 3] of RGB integers. All members are safe to call from
// several threads.
class TileBlender {
  public:
    using Rgb = std::variant<std::unique_ptr<std::uint8_t[]>, std::unique_ptr<std::uint16_t[]>>;

    static constexpr std::int64_t max_frames = 1 << 20;

    // `bits` of an integer are 8 or 16; 0 `threads` are all of the machine.
    TileBlender(TilePlan plan, std::int64_t frames, std::int64_t bits, std::int64_t threads);

    const TilePlan& plan() const { return plan_; }
    std::int64_t frame_count() const { return static_cast<std::int64_t>(frames_.size()); }

    // Throws std::invalid_argument unless `pixels` have the shape of that tile and of frames that there are.
    void check_fits(std::int64_t tile, std::int64_t first_frame, const TilePixels& pixels) const;

    // Every frame takes each tile once, in the plan's order: so the order of a pixel's float sum, and with it every bit
    // of the result, does not depend on how the decoder splits its work. What is refused changes nothing.
    void add(std::int64_t tile, std::int64_t first_frame, const TilePixels& pixels);

    bool complete() const;

    // The buffer, which lives as long as this object and is written no more. Throws until every tile has come.
    const Rgb& finished() const;

  private:
    struct Frame {
        std::int64_t next_tile = 0;
        std::unique_ptr<float[]> sums;  // where SeamMap says; from the frame's first tile to its last
    };
    struct Cut;

    void check_turn(std::int64_t tile, std::int64_t first_frame, std::int64_t count) const;
    template <class Level>
    void blend_row(const Cut& cut, std::int64_t frame, std::int64_t y, const TilePixels& pixels, Level* rgb);

    const TilePlan plan_;
    const SeamMap seams_;
    const std::int64_t threads_;
    Rgb rgb_;
    std::vector<Frame> frames_;
    std::int64_t finished_frames_ = 0;
    mutable std::mutex mutex_;  // over rgb_, frames_ and finished_frames_
};

}  // namespace fantasyid
