# Everything comes from the machine; nothing is downloaded. A missing required package stops with the
# name of the Debian package; a missing optional one is one line.

macro(frugal_require package debian)
  find_package(${package} ${ARGN} QUIET)
  if(NOT ${package}_FOUND)
    message(FATAL_ERROR "${package} not found: install it with 'apt-get install ${debian}', or run scripts/setup.sh")
  endif()
endmacro()

find_package(PkgConfig REQUIRED)
macro(frugal_require_pkg name module debian)
  pkg_check_modules(${name} QUIET IMPORTED_TARGET ${module})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR "${module} not found: install it with 'apt-get install ${debian}', or run scripts/setup.sh")
  endif()
endmacro()

frugal_require(Threads libc6-dev)
frugal_require(yaml-cpp libyaml-cpp-dev)
frugal_require(CLI11 libcli11-dev)
frugal_require(fmt libfmt-dev)
frugal_require(nlohmann_json nlohmann-json3-dev)
frugal_require(Protobuf protobuf-compiler)
frugal_require(dnnl libdnnl-dev)
frugal_require_pkg(HWY libhwy libhwy-dev)
frugal_require_pkg(UTF8PROC libutf8proc libutf8proc-dev)
frugal_require_pkg(XXHASH libxxhash libxxhash-dev)
if(FRUGAL_TESTS)
  frugal_require(GTest libgtest-dev)
endif()

# libgomp is not instrumented: under ThreadSanitizer it would report races that are not there. Clang has a library of its
# own, which the readers that are fuzzed do not need.
if(NOT FRUGAL_SANITIZER STREQUAL "thread" AND NOT FRUGAL_FUZZ)
  frugal_require(OpenMP g++ COMPONENTS CXX)
endif()

find_package(MPI COMPONENTS CXX QUIET)
if(MPI_CXX_FOUND)
  set(FRUGAL_HAVE_MPI ON)
else()
  set(FRUGAL_HAVE_MPI OFF)
  message(STATUS "Open MPI not found (apt-get install libopenmpi-dev openmpi-bin): ranks run as threads only")
endif()

# NCCL's header needs CUDA's; the library itself is found when the program runs.
find_path(FRUGAL_NCCL_INCLUDE nccl.h PATHS /usr/local/cuda/include)
find_path(FRUGAL_CUDA_INCLUDE cuda_runtime.h PATHS /usr/local/cuda/include)
mark_as_advanced(FRUGAL_NCCL_INCLUDE FRUGAL_CUDA_INCLUDE)
if(FRUGAL_NCCL_INCLUDE AND FRUGAL_CUDA_INCLUDE)
  set(FRUGAL_HAVE_NCCL ON)
  add_library(frugal_nccl_headers INTERFACE)
  target_include_directories(frugal_nccl_headers SYSTEM INTERFACE "${FRUGAL_NCCL_INCLUDE}" "${FRUGAL_CUDA_INCLUDE}")
else()
  set(FRUGAL_HAVE_NCCL OFF)
  message(STATUS "NCCL's header not found (apt-get install libnccl-dev): GPUs exchange data through host memory")
endif()

find_package(benchmark QUIET)
if(NOT benchmark_FOUND)
  message(STATUS "Google Benchmark not found (apt-get install libbenchmark-dev): benchmarks are not built")
endif()
