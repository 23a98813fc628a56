#pragma once

#include <cstdint>
#include <vector>

#include "tile_axis.hpp"

namespace fantasyid {

struct Tile {
    std::int64_t top, left, height, width;
};

// Overlapping tiles that cover a picture: the product of two axes, row by row.
class TilePlan {
  public:
    static constexpr std::int64_t max_area = 1 << 28;
    static constexpr std::int64_t max_tiles = 1 << 12;

    TilePlan(std::int64_t height, std::int64_t width, std::int64_t tile_height, std::int64_t tile_width,
             std::int64_t overlap_height, std::int64_t overlap_width);

    // The same plan with every coordinate multiplied.
    TilePlan scaled(std::int64_t factor) const;

    const TileAxis& rows() const { return rows_; }
    const TileAxis& columns() const { return columns_; }
    std::int64_t height() const { return rows_.length(); }
    std::int64_t width() const { return columns_.length(); }
    std::int64_t count() const { return rows_.count() * columns_.count(); }

    // Throws std::invalid_argument unless there is a tile `index`.
    void check_tile(std::int64_t index) const;
    std::int64_t row(std::int64_t index) const { return index / columns_.count(); }
    std::int64_t column(std::int64_t index) const { return index % columns_.count(); }
    Tile tile(std::int64_t index) const;

    // Feathering weight [height, width] of each pixel of a tile, written to `to`.
    void weights(std::int64_t index, float* to) const;

  private:
    TilePlan(TileAxis rows, TileAxis columns);

    TileAxis rows_, columns_;
};

}  // namespace fantasyid
