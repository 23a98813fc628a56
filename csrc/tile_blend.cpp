#include "tile_blend.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "check.hpp"
#include "parallel.hpp"
#include "pixel_rows.hpp"

namespace fantasyid {

namespace {

std::int64_t checked_frames(std::int64_t frames) {
    check_range("TileBlender.frames", frames, 1, TileBlender::max_frames);
    return frames;
}

std::int64_t checked_threads(std::int64_t threads) {
    check_range("TileBlender.threads", threads, 0, max_threads);
    return resolve_threads(threads);
}

// Not filled with zeros: every pixel is written before anyone may read it.
TileBlender::Rgb rgb_buffer(std::int64_t size, std::int64_t bits) {
    switch (bits) {
        case 8:
            return std::unique_ptr<std::uint8_t[]>(new std::uint8_t[size]);
        case 16:
            return std::unique_ptr<std::uint16_t[]>(new std::uint16_t[size]);
        default:
            throw std::invalid_argument("TileBlender.bits is " + std::to_string(bits) + "; it must be 8 or 16");
    }
}

std::string shape(std::int64_t channels, const std::string& frames, std::int64_t height, std::int64_t width) {
    return "[" + std::to_string(channels) + ", " + frames + ", " + std::to_string(height) + ", " +
           std::to_string(width) + "]";
}

}  // namespace

// How a tile lies among its neighbours.
struct TileBlender::Cut {
    Tile tile;
    std::vector<TileSpan> spans_y, spans_x;
    std::vector<float> weights_y, weights_x;

    Cut(const TilePlan& plan, std::int64_t index)
        : tile(plan.tile(index)),
          spans_y(plan.rows().spans(plan.row(index))),
          spans_x(plan.columns().spans(plan.column(index))),
          weights_y(plan.rows().weights(plan.row(index))),
          weights_x(plan.columns().weights(plan.column(index))) {}

    const TileSpan& span_y(std::int64_t y) const {
        return *std::find_if(spans_y.begin(), spans_y.end(), [y](auto& span) { return y < span.begin + span.length; });
    }
};

TileBlender::TileBlender(TilePlan plan, std::int64_t frames, std::int64_t bits, std::int64_t threads)
    : plan_(std::move(plan)),
      seams_(plan_),
      threads_(checked_threads(threads)),
      rgb_(rgb_buffer(checked_frames(frames) * plan_.height() * plan_.width() * 3, bits)),
      frames_(frames) {}

void TileBlender::check_fits(std::int64_t tile, std::int64_t first_frame, const TilePixels& pixels) const {
    plan_.check_tile(tile);
    check_range("first_frame", first_frame, 0, frame_count() - 1);
    const auto most = frame_count() - first_frame;
    const auto [top, left, height, width] = plan_.tile(tile);
    if (pixels.channels != 3 || pixels.frames < 1 || pixels.frames > most || pixels.height != height ||
        pixels.width != width) {
        throw std::invalid_argument("pixels of tile " + std::to_string(tile) + " are " +
                                    shape(pixels.channels, std::to_string(pixels.frames), pixels.height, pixels.width) +
                                    "; they must be " + shape(3, "1 to " + std::to_string(most), height, width) +
                                    " from frame " + std::to_string(first_frame) + " on");
    }
}

void TileBlender::check_turn(std::int64_t tile, std::int64_t first_frame, std::int64_t count) const {
    for (auto frame = first_frame; frame < first_frame + count; ++frame) {
        const auto next = frames_[frame].next_tile;
        if (next != tile) {
            throw std::invalid_argument(
                "tile " + std::to_string(tile) + " of frame " + std::to_string(frame) + " is out of turn; " +
                (next == plan_.count() ? "the frame has all its tiles" : "tile " + std::to_string(next) + " is next"));
        }
    }
}

template <class Level>
void TileBlender::blend_row(const Cut& cut, std::int64_t frame, std::int64_t y, const TilePixels& pixels, Level* rgb) {
    const auto& down = cut.span_y(y);
    for (const auto& across : cut.spans_x) {
        const bool first = down.first && across.first, last = down.last && across.last;
        const auto* const values = pixels.data + y * pixels.row_stride + across.begin;
        auto* const out = rgb + 3 * across.begin;
        if (first && last) {
            to_rgb(values, values + pixels.channel_stride, values + 2 * pixels.channel_stride, across.length, out);
            continue;
        }
        const auto place = seams_.place(cut.tile.top + y, cut.tile.left + across.begin);
        auto* const sums = frames_[frame].sums.get() + place.offset;
        for (int channel = 0; channel < 3; ++channel) {
            (first ? weigh : add_weighed)(values + channel * pixels.channel_stride, &cut.weights_x[across.begin],
                                          cut.weights_y[y], across.length, sums + channel * place.channel);
        }
        if (last) to_rgb(sums, sums + place.channel, sums + 2 * place.channel, across.length, out);
    }
}

void TileBlender::add(std::int64_t tile, std::int64_t first_frame, const TilePixels& pixels) {
    check_fits(tile, first_frame, pixels);
    const Cut cut(plan_, tile);
    const std::lock_guard lock(mutex_);
    check_turn(tile, first_frame, pixels.frames);
    const auto frames = std::next(frames_.begin(), first_frame);
    if (seams_.size() > 0) {
        std::for_each_n(frames, pixels.frames, [&](Frame& frame) {
            if (!frame.sums) frame.sums.reset(new float[seams_.size()]);
        });
    }

    // A piece is long against the start of a thread, and short enough that a slow core does not hold up the others.
    const auto rows_a_piece = std::max<std::int64_t>(1, 16384 / pixels.width);
    std::visit(
        [&](const auto& rgb) {
            parallel_for(pixels.frames * pixels.height, rows_a_piece, threads_, [&](auto begin, auto end) {
                for (auto row = begin; row < end; ++row) {
                    const auto frame = row / pixels.height, y = row % pixels.height;
                    auto of_frame = pixels;
                    of_frame.data += frame * pixels.frame_stride;
                    const auto out_row = (first_frame + frame) * plan_.height() + cut.tile.top + y;
                    blend_row(cut, first_frame + frame, y, of_frame,
                              rgb.get() + 3 * (out_row * plan_.width() + cut.tile.left));
                }
            });
        },
        rgb_);

    std::for_each_n(frames, pixels.frames, [&](Frame& frame) {
        if (++frame.next_tile == plan_.count()) {
            frame.sums.reset();
            ++finished_frames_;
        }
    });
}

bool TileBlender::complete() const {
    const std::lock_guard lock(mutex_);
    return finished_frames_ == frame_count();
}

const TileBlender::Rgb& TileBlender::finished() const {
    const std::lock_guard lock(mutex_);
    if (finished_frames_ < frame_count()) {
        throw std::invalid_argument("frames are not complete; " + std::to_string(frame_count() - finished_frames_) +
                                    " of " + std::to_string(frame_count()) + " still wait for tiles");
    }
    return rgb_;
}

}  // namespace fantasyid
