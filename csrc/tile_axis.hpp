#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fantasyid {

// A run of a tile's positions that are covered by the same tiles.
struct TileSpan {
    std::int64_t begin, length;  // begin counts from the tile's start
    bool first;                  // no earlier tile covers it
    bool last;                   // no later tile covers it
};

// Tiles of one size along one axis: evenly spread, the first at 0, the last flush with the end.
class TileAxis {
  public:
    static constexpr std::int64_t max_length = 1 << 16;

    // The fewest tiles whose neighbours share at least `overlap` positions. A tile longer than the axis is cut to it.
    // `name` is what errors call the axis: "height" or "width".
    TileAxis(const std::string& name, std::int64_t length, std::int64_t tile, std::int64_t overlap);

    // The same tiles with every position multiplied; the product with length() must not pass max_length.
    TileAxis scaled(std::int64_t factor) const;

    std::int64_t length() const { return length_; }
    std::int64_t tile() const { return tile_; }
    std::int64_t count() const { return static_cast<std::int64_t>(starts_.size()); }
    std::int64_t start(std::int64_t index) const { return starts_[index]; }

    // At most three runs that make up tile `index`.
    std::vector<TileSpan> spans(std::int64_t index) const;

    // Weight of each position of tile `index`, above 0; over all tiles they sum to 1.
    std::vector<float> weights(std::int64_t index) const;

    // Whether more than one tile covers a position, for each position of the axis.
    std::vector<bool> shared() const;

  private:
    TileAxis(std::int64_t length, std::int64_t tile, std::vector<std::int64_t> starts);

    std::int64_t end(std::int64_t index) const { return starts_[index] + tile_; }
    double ramp(std::int64_t index, std::int64_t position) const;

    std::int64_t length_, tile_;
    std::vector<std::int64_t> starts_;
};

}  // namespace fantasyid
