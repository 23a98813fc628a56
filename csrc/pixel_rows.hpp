#pragma once

#include <cstdint>

namespace fantasyid {

// sums = weight_y * weights_x * values
void weigh(const float* values, const float* weights_x, float weight_y, std::int64_t count, float* sums);

// sums += weight_y * weights_x * values
void add_weighed(const float* values, const float* weights_x, float weight_y, std::int64_t count, float* sums);

// Interleaves three planes with values in [-1, 1] as RGB integers: 0 to 255 or 0 to 65535, rounded half up; NaN gives
// 0.
template <class Level>
void to_rgb(const float* red, const float* green, const float* blue, std::int64_t count, Level* rgb);

}  // namespace fantasyid
