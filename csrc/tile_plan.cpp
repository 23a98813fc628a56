#include "tile_plan.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include "check.hpp"

namespace fantasyid {

TilePlan::TilePlan(std::int64_t height, std::int64_t width, std::int64_t tile_height, std::int64_t tile_width,
                   std::int64_t overlap_height, std::int64_t overlap_width)
    : TilePlan(TileAxis("height", height, tile_height, overlap_height),
               TileAxis("width", width, tile_width, overlap_width)) {}

TilePlan::TilePlan(TileAxis rows, TileAxis columns) : rows_(std::move(rows)), columns_(std::move(columns)) {
    check_range("TilePlan's number of pixels", height() * width(), 1, max_area);
    check_range("TilePlan's number of tiles", count(), 1, max_tiles);
}

TilePlan TilePlan::scaled(std::int64_t factor) const {
    check_range("TilePlan.scaled's factor", factor, 1, TileAxis::max_length / std::max(height(), width()));
    return {rows_.scaled(factor), columns_.scaled(factor)};
}

void TilePlan::check_tile(std::int64_t index) const { check_range("tile", index, 0, count() - 1); }

Tile TilePlan::tile(std::int64_t index) const {
    return {rows_.start(row(index)), columns_.start(column(index)), rows_.tile(), columns_.tile()};
}

void TilePlan::weights(std::int64_t index, float* to) const {
    const auto down = rows_.weights(row(index)), across = columns_.weights(column(index));
    for (const float y : down) {
        for (const float x : across) *to++ = y * x;
    }
}

}  // namespace fantasyid
