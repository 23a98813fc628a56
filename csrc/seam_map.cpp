#include "seam_map.hpp"

namespace fantasyid {

SeamMap::SeamMap(const TilePlan& plan) : width_(plan.width()) {
    before_.push_back(0);
    for (const bool shared : plan.columns().shared()) before_.push_back(before_.back() + shared);
    for (const bool shared : plan.rows().shared()) {
        rows_.push_back({size_, shared});
        size_ += 3 * (shared ? width_ : before_.back());
    }
}

}  // namespace fantasyid
