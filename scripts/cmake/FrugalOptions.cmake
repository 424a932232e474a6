# Language level, warnings and sanitizers for every target.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

option(FRUGAL_TESTS "Build the test suite" ON)
set(FRUGAL_SANITIZER "" CACHE STRING "address (with undefined), thread, or empty")

# No -ffast-math and no contraction: the bits of a sum are part of the contract (D1, D2).
# -Wno-restrict: GCC 12 reports overlaps in std::string's operator+ that cannot happen.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Werror;-Wno-missing-field-initializers;-Wno-restrict;\
-ffp-contract=off;-fno-math-errno>")
if(FRUGAL_SANITIZER STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(FRUGAL_SANITIZER STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -Wno-tsan)
  add_link_options(-fsanitize=thread)
endif()

# libFuzzer's targets (tests/fuzz): everything they stand on is built with clang's coverage and sanitizers.
option(FRUGAL_FUZZ "Build the fuzz targets for libFuzzer instead of replaying their corpora" OFF)
if(FRUGAL_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "FRUGAL_FUZZ needs clang: 'apt-get install clang libclang-rt-dev', then cmake --preset fuzz")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
                      -Wno-unknown-warning-option)
  add_link_options(-fsanitize=address,undefined)
endif()

find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CCACHE}")
endif()
