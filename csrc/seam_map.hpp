#pragma once

#include <cstdint>
#include <vector>

#include "tile_plan.hpp"

namespace fantasyid {

// Where the sums of one frame lie in a buffer that has room for the pixels under several tiles only.
// A row that lies in a seam keeps all its pixels, another only those of the columns that lie in a seam; a row's three
// channels follow each other.
class SeamMap {
  public:
    explicit SeamMap(const TilePlan& plan);

    // Floats of one frame; 0 where no tiles overlap.
    std::int64_t size() const { return size_; }

    struct Place {
        std::int64_t offset;   // of the pixel's first channel
        std::int64_t channel;  // distance to the next channel
    };
    // Pixels to the right follow without gaps as long as they are under several tiles.
    Place place(std::int64_t y, std::int64_t x) const {
        const auto& row = rows_[y];
        return {row.offset + (row.whole ? x : before_[x]), row.whole ? width_ : before_[width_]};
    }

  private:
    struct Row {
        std::int64_t offset;
        bool whole;
    };
    std::int64_t size_ = 0, width_;
    std::vector<Row> rows_;
    std::vector<std::int64_t> before_;  // shared columns to the left of a column
};

}  // namespace fantasyid
