# frugal_library(NAME SOURCES a.cc ... DEPS targets ...): one static library per folder.
function(frugal_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
endfunction()

# Tests share the machine with each other: OpenMP's threads shall not spin for long (trainer/main.cc).
set(FRUGAL_TEST_ENVIRONMENT GOMP_SPINCOUNT=1000)

# The labels asan and tsan: what these presets run by default, and targets that build no more than that. ThreadSanitizer
# sees what has threads.
add_custom_target(asan_tests)
add_custom_target(tsan_tests)
# What is tested of a build for GPUs where there is none.
add_custom_target(cuda_dev_tests)

# frugal_test(NAME SOURCES a.cc ... DEPS targets ... [LABELS l ...]): one GoogleTest binary, one ctest entry.
function(frugal_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} GTest::gtest_main)
  # A test's own lines run once; what it links is optimised. Two thirds of the time of compiling it.
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  foreach(label IN LISTS ARG_LABELS)
    add_dependencies(${label}_tests ${name})
  endforeach()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
                       ENVIRONMENT "${FRUGAL_TEST_ENVIRONMENT}")
endfunction()
