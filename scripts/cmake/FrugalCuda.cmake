# CUDA, for the cuda presets. CMake 3.25 knows neither CUDA's C++20 nor architectures like 120a: it is told of the one, and
# the others go as plain flags.
option(FRUGAL_CUDA "Build the CUDA kernels; needs the CUDA toolkit" OFF)
set(FRUGAL_CUDA_ARCHITECTURES "86;120a" CACHE STRING "Architectures of the CUDA kernels; the last also as PTX")
if(NOT FRUGAL_CUDA)
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES OFF)
enable_language(CUDA)
set(CMAKE_CUDA_COMPILER_LAUNCHER "${PROJECT_SOURCE_DIR}/scripts/cmake/keep_ptxas.sh" ${CCACHE})
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
set(flags --expt-relaxed-constexpr)
foreach(architecture IN LISTS FRUGAL_CUDA_ARCHITECTURES)
  list(APPEND flags "-gencode arch=compute_${architecture},code=sm_${architecture}")
endforeach()
list(GET FRUGAL_CUDA_ARCHITECTURES -1 newest)
string(REGEX REPLACE "[af]$" "" newest "${newest}")  # code for 120a runs nowhere else, PTX for 120 does
list(APPEND flags "-gencode arch=compute_${newest},code=compute_${newest}")
# No contraction: kernels say fmaf where they mean it. What spills or uses local memory does not build.
list(APPEND flags -fmad=false "-Xptxas -v,-warn-spills,-warn-lmem-usage,-Werror"
     -Werror all-warnings "-Xcompiler -Wall,-Wextra,-Wno-missing-field-initializers,-ffp-contract=off,-fno-math-errno")
list(JOIN flags " " CMAKE_CUDA_FLAGS)
