#include "build_info.hpp"

#include <algorithm>
#include <thread>

namespace fantasyid {

BuildInfo build_info() {
#if defined(__clang__)
    const std::string compiler = std::string("clang ") + __clang_version__;
#elif defined(__GNUC__)
    const std::string compiler = std::string("gcc ") + __VERSION__;
#else
    const std::string compiler = "unknown";
#endif
    return {FANTASYID_VERSION, compiler, __cplusplus, std::max(1u, std::thread::hardware_concurrency())};
}

}  // namespace fantasyid
