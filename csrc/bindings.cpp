#include <pybind11/pybind11.h>

#include "build_info.hpp"

namespace py = pybind11;

PYBIND11_MODULE(_native, m) {
    m.doc() = "Native parts of fantasyid_engine: plain C++17, no libtorch.";
    m.def(
        "build_info",
        [] {
            const auto info = fantasyid::build_info();
            return py::dict(py::arg("version") = info.version, py::arg("compiler") = info.compiler,
                            py::arg("cxx_standard") = info.cxx_standard, py::arg("threads") = info.threads);
        },
        "Version, compiler, C++ standard and hardware threads of this build.");
}
