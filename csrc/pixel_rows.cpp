#include "pixel_rows.hpp"

#include <algorithm>
#include <limits>

namespace fantasyid {

void weigh(const float* values, const float* weights_x, float weight_y, std::int64_t count, float* sums) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] = weight_y * weights_x[i] * values[i];
}

void add_weighed(const float* values, const float* weights_x, float weight_y, std::int64_t count, float* sums) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += weight_y * weights_x[i] * values[i];
}

namespace {

template <class Level>
std::int32_t level(float value) {
    constexpr float top = std::numeric_limits<Level>::max();
    float unit = value * 0.5f + 0.5f;
    unit = unit > 0 ? unit : 0;  // in this order, so that NaN, which is above nothing, becomes 0
    unit = unit < 1 ? unit : 1;
    return static_cast<std::int32_t>(unit * top + 0.5f);
}

}  // namespace

template <class Level>
void to_rgb(const float* red, const float* green, const float* blue, std::int64_t count, Level* rgb) {
    // Two short passes: compilers vectorise the arithmetic only where the result is neither narrowed nor interleaved.
    constexpr std::int64_t block = 256;
    std::int32_t levels[3][block];
    const float* const planes[] = {red, green, blue};
    for (std::int64_t begin = 0; begin < count; begin += block) {
        const auto size = std::min(block, count - begin);
        for (int channel = 0; channel < 3; ++channel) {
            const float* const values = planes[channel] + begin;
            for (std::int64_t i = 0; i < size; ++i) levels[channel][i] = level<Level>(values[i]);
        }
        for (std::int64_t i = 0; i < size; ++i) {
            for (int channel = 0; channel < 3; ++channel) *rgb++ = static_cast<Level>(levels[channel][i]);
        }
    }
}

template void to_rgb(const float*, const float*, const float*, std::int64_t, std::uint8_t*);
template void to_rgb(const float*, const float*, const float*, std::int64_t, std::uint16_t*);

}  // namespace fantasyid
