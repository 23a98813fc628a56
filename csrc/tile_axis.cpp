#include "tile_axis.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "check.hpp"

namespace fantasyid {

TileAxis::TileAxis(const std::string& name, std::int64_t length, std::int64_t tile, std::int64_t overlap) {
    constexpr auto any = std::numeric_limits<std::int64_t>::max();
    check_range("TilePlan." + name, length, 1, max_length);
    check_range("TilePlan.tile_" + name, tile, 1, any);
    length_ = length;
    tile_ = std::min(tile, length);
    const bool alone = tile_ == length;
    check_range("TilePlan.overlap_" + name, overlap, 0, alone ? any : tile_ - 1);
    if (alone) {
        starts_ = {0};
        return;
    }
    const auto stride = tile_ - overlap;
    const auto gaps = (length - overlap + stride - 1) / stride - 1;
    starts_.reserve(gaps + 1);
    // Rounded half up. Neighbours stay at most `stride` apart, because their unrounded distance is and `stride` is
    // whole.
    for (std::int64_t i = 0; i <= gaps; ++i) starts_.push_back((2 * i * (length - tile_) + gaps) / (2 * gaps));
}

TileAxis::TileAxis(std::int64_t length, std::int64_t tile, std::vector<std::int64_t> starts)
    : length_(length), tile_(tile), starts_(std::move(starts)) {}

TileAxis TileAxis::scaled(std::int64_t factor) const {
    auto starts = starts_;
    for (auto& start : starts) start *= factor;
    return {length_ * factor, tile_ * factor, std::move(starts)};
}

std::vector<TileSpan> TileAxis::spans(std::int64_t index) const {
    // Starts and ends both rise with the index, so only the neighbours decide who is first and last at a position.
    const auto from = starts_[index];
    const auto first = index == 0 ? 0 : std::max<std::int64_t>(end(index - 1) - from, 0);
    const auto last = index + 1 == count() ? tile_ : std::min(starts_[index + 1] - from, tile_);
    const std::int64_t cuts[] = {0, std::min(first, last), std::max(first, last), tile_};
    std::vector<TileSpan> found;
    for (int i = 0; i < 3; ++i) {
        const auto begin = cuts[i], length = cuts[i + 1] - begin;
        if (length > 0) found.push_back({begin, length, begin >= first, begin < last});
    }
    return found;
}

// Height of tile `index` before the sum is normalised: 1, falling linearly to 0 over what it shares with a neighbour.
double TileAxis::ramp(std::int64_t index, std::int64_t position) const {
    double height = 1;
    if (index > 0) {
        const auto shared = end(index - 1) - starts_[index];
        if (shared > 0) height = std::min(height, (position - starts_[index] + 0.5) / shared);
    }
    if (index + 1 < count()) {
        const auto shared = end(index) - starts_[index + 1];
        if (shared > 0) height = std::min(height, (end(index) - position - 0.5) / shared);
    }
    return height;
}

std::vector<float> TileAxis::weights(std::int64_t index) const {
    std::vector<float> made(tile_);
    for (std::int64_t i = 0; i < tile_; ++i) {
        const auto position = starts_[index] + i;
        const auto own = ramp(index, position);
        auto total = own;
        for (auto other = index - 1; other >= 0 && end(other) > position; --other) total += ramp(other, position);
        for (auto other = index + 1; other < count() && starts_[other] <= position; ++other) {
            total += ramp(other, position);
        }
        made[i] = static_cast<float>(own / total);
    }
    return made;
}

std::vector<bool> TileAxis::shared() const {
    std::vector<bool> found(length_);
    for (std::int64_t i = 1; i < count(); ++i) {
        std::fill(found.begin() + starts_[i], found.begin() + std::max(starts_[i], end(i - 1)), true);
    }
    return found;
}

}  // namespace fantasyid
