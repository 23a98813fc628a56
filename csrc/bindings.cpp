#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <type_traits>
#include <variant>

#include "build_info.hpp"
#include "tile_blend.hpp"
#include "tile_plan.hpp"

namespace py = pybind11;
using fantasyid::TileBlender;
using fantasyid::TilePixels;
using fantasyid::TilePlan;
using released = py::call_guard<py::gil_scoped_release>;

namespace {

constexpr py::ssize_t float_size = sizeof(float);

py::array_t<std::int64_t> tiles(const TilePlan& plan) {
    py::array_t<std::int64_t> made({plan.count(), std::int64_t{4}});
    auto rows = made.mutable_unchecked<2>();
    for (std::int64_t i = 0; i < plan.count(); ++i) {
        const auto tile = plan.tile(i);
        rows(i, 0) = tile.top;
        rows(i, 1) = tile.left;
        rows(i, 2) = tile.height;
        rows(i, 3) = tile.width;
    }
    return made;
}

py::array_t<float> weights(const TilePlan& plan, std::int64_t tile) {
    plan.check_tile(tile);
    py::array_t<float> made({plan.rows().tile(), plan.columns().tile()});
    float* const to = made.mutable_data();
    const py::gil_scoped_release release;
    plan.weights(tile, to);
    return made;
}

TilePixels view(const py::array& pixels) {
    if (!py::isinstance<py::array_t<float>>(pixels)) {
        throw std::invalid_argument("pixels are " + py::str(pixels.dtype()).cast<std::string>() +
                                    "; they must be float32");
    }
    if (pixels.ndim() != 4) {
        throw std::invalid_argument("pixels have " + std::to_string(pixels.ndim()) +
                                    " dimensions; they must have 4: [3, frames, height, width]");
    }
    return {static_cast<const float*>(pixels.data()),
            pixels.shape(0),
            pixels.shape(1),
            pixels.shape(2),
            pixels.shape(3),
            pixels.strides(0) / float_size,
            pixels.strides(1) / float_size,
            pixels.strides(2) / float_size};
}

bool has_plain_rows(const py::array& pixels) {
    bool plain = pixels.attr("flags").attr("aligned").cast<bool>() && pixels.strides(3) == float_size;
    for (int axis = 0; axis < 3; ++axis) plain = plain && pixels.strides(axis) % float_size == 0;
    return plain;
}

void add(TileBlender& blender, std::int64_t tile, std::int64_t first_frame, py::array pixels) {
    auto viewed = view(pixels);
    if (!has_plain_rows(pixels)) {
        blender.check_fits(tile, first_frame, viewed);  // before a copy, which a broadcast array could make huge
        pixels = pixels.attr("copy")();
        viewed = view(pixels);
    }
    const py::gil_scoped_release release;
    blender.add(tile, first_frame, viewed);
}

const TileBlender::Rgb& finished(const TileBlender& blender) {
    const py::gil_scoped_release release;
    return blender.finished();
}

py::array frames(const TileBlender& blender) {
    const auto& plan = blender.plan();
    const auto owner = py::cast(blender, py::return_value_policy::reference);
    const auto wrap = [&](const auto& buffer) -> py::array {
        using Level = std::remove_reference_t<decltype(buffer[0])>;
        return py::array_t<Level>({blender.frame_count(), plan.height(), plan.width(), std::int64_t{3}}, buffer.get(),
                                  owner);
    };
    return std::visit(wrap, finished(blender));
}

}  // namespace

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

    py::class_<TilePlan>(m, "TilePlan", "Overlapping tiles that cover a picture.")
        .def(py::init<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t>(),
             py::arg("height"), py::arg("width"), py::arg("tile_height"), py::arg("tile_width"),
             py::arg("overlap_height"), py::arg("overlap_width"), released())
        .def_property_readonly("height", &TilePlan::height)
        .def_property_readonly("width", &TilePlan::width)
        .def_property_readonly("tiles", &tiles, "[n, 4]: top, left, height, width; row by row.")
        .def("__len__", &TilePlan::count)
        .def("scaled", &TilePlan::scaled, py::arg("factor"), "The same plan with every coordinate multiplied.")
        .def("weights", &weights, py::arg("tile"), "[h, w]: feathering weight of each pixel of a tile.");

    py::class_<TileBlender>(m, "TileBlender", "Feathers decoded tiles into one buffer of RGB integers.")
        .def(py::init<TilePlan, std::int64_t, std::int64_t, std::int64_t>(), py::arg("plan"), py::arg("frames"),
             py::kw_only(), py::arg("bits") = 8, py::arg("threads") = 0, released())
        .def("add", &add, py::arg("tile"), py::arg("first_frame"), py::arg("pixels"),
             "Adds decoded pixels [3, f, h, w] of one tile.")
        .def_property_readonly("complete", py::cpp_function(&TileBlender::complete, released()))
        .def("frames", &frames, "[F, H, W, 3]: the finished frames, not copied.");
}
