#pragma once

#include <string>

namespace fantasyid {

// What the native module was built from and how wide it may run.
struct BuildInfo {
    std::string version;   // of the package this module was built for
    std::string compiler;  // name and version
    long cxx_standard;     // value of __cplusplus
    unsigned threads;      // hardware threads, at least 1
};

BuildInfo build_info();

}  // namespace fantasyid
