#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace fantasyid {

// Throws std::invalid_argument unless `value` is from `least` to `most`.
inline void check_range(const std::string& field, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value < least || value > most) {
        throw std::invalid_argument(field + " is " + std::to_string(value) + "; it must be an integer from " +
                                    std::to_string(least) + " to " + std::to_string(most));
    }
}

}  // namespace fantasyid
