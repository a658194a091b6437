# Build options and the one interface target that carries warnings and sanitizers. Never exported.
option(HOLDFAST_TESTS "Build the tests" ON)
option(HOLDFAST_BENCH "Build the benchmarks (Google Benchmark)" OFF)
set(HOLDFAST_SANITIZE "" CACHE STRING "Comma-separated sanitizers: address,undefined or thread")
option(HOLDFAST_FUZZ "Fuzz targets with libFuzzer (clang) instead of fixed inputs" OFF)
set(HOLDFAST_PATIENCE 1 CACHE STRING "How much longer tests may take: sanitizers slow programs down")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # A precompiled header's time stamps and defines must not defeat the cache.
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
endif()

find_package(Threads REQUIRED)

add_library(holdfast_build INTERFACE)
target_compile_options(holdfast_build INTERFACE -fPIC -Wall -Wextra -Wno-missing-field-initializers -fno-omit-frame-pointer
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-maybe-uninitialized>  # g++ 12 sees ghosts in variants, expected and strings at -O2
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-array-bounds>
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>
    $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-unused-command-line-argument>)
target_link_libraries(holdfast_build INTERFACE Threads::Threads ${CMAKE_DL_LIBS})
if(HOLDFAST_FUZZ)
  target_compile_options(holdfast_build INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(HOLDFAST_SANITIZE)
  target_compile_options(holdfast_build INTERFACE -fsanitize=${HOLDFAST_SANITIZE} -fno-sanitize-recover=undefined)
  target_link_options(holdfast_build INTERFACE -fsanitize=${HOLDFAST_SANITIZE})
  # Every program carries the sanitizer's options; tests/sanitizers/run.sh looks at the reports.
  set(reports ${CMAKE_BINARY_DIR}/sanitizer-reports)
  file(MAKE_DIRECTORY ${reports})
  find_program(HOLDFAST_SYMBOLIZER NAMES llvm-symbolizer HINTS /usr/lib/llvm-19/bin)
  add_library(holdfast_sanitizer_options OBJECT ${CMAKE_SOURCE_DIR}/tests/sanitizers/options.cpp)
  target_compile_definitions(holdfast_sanitizer_options PRIVATE HOLDFAST_SANITIZER_DIR="${CMAKE_SOURCE_DIR}/tests/sanitizers"
      HOLDFAST_SANITIZER_REPORTS="${reports}" HOLDFAST_SYMBOLIZER="$<IF:$<BOOL:${HOLDFAST_SYMBOLIZER}>,${HOLDFAST_SYMBOLIZER},>")
  target_sources(holdfast_build INTERFACE
      $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:$<TARGET_OBJECTS:holdfast_sanitizer_options>>)
endif()

# One precompiled header for everything in host/ and plugins/: the standard headers and nlohmann/json; and one for the tests. They
# belong to the top directory: their place is part of every command line, and must not depend on what else is configured.
file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/pch_anchor.cpp CONTENT "")
function(holdfast_pch name header)
  add_library(${name} OBJECT ${CMAKE_BINARY_DIR}/pch_anchor.cpp)
  target_link_libraries(${name} PRIVATE ${ARGN})
  target_precompile_headers(${name} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/${header})
endfunction()
holdfast_pch(holdfast_pch pch.hpp holdfast_build)
function(holdfast_use_pch target)
  target_precompile_headers(${target} REUSE_FROM holdfast_pch)
endfunction()
if(HOLDFAST_TESTS)
  # A test's own text is compiled far more often than run: nothing is gained by optimising it. What it tests is optimised.
  find_package(GTest REQUIRED)
  add_library(holdfast_test_build INTERFACE)
  target_link_libraries(holdfast_test_build INTERFACE holdfast_build GTest::gtest GTest::gtest_main)
  target_compile_options(holdfast_test_build INTERFACE $<$<CONFIG:RelWithDebInfo>:-O0>)
  holdfast_pch(holdfast_test_pch pch_test.hpp holdfast_test_build)
endif()

# holdfast_box(name SOURCES … LINK …): one box of the architecture as a static library. Its LINK list is its arrows.
function(holdfast_box name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK;PRIVATE_LINK" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR}/host)
  target_link_libraries(${name} PUBLIC ${A_LINK} PRIVATE holdfast_build ${A_PRIVATE_LINK})
  holdfast_use_pch(${name})
endfunction()
