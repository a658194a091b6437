# holdfast_add_plugin(name SOURCES … [LINK …] [OUTPUT_DIRECTORY dir] [NO_INSTALL] [NO_VERSION_SCRIPT])
#
# A plugin is a module <name>.so that exports hf_plugin_manifest and hf_plugin_entry_v1 and nothing else:
#   hidden visibility and no STB_GNU_UNIQUE   else the library can never be unloaded
#   -z defs                                   a missing symbol is a link error, not a crash at first use
#   --exclude-libs                            static libraries linked in stay private to the plugin
# Inside the Holdfast tree it also gets the tree's warnings, sanitizers and precompiled header.
include_guard(GLOBAL)
include(GNUInstallDirs)

function(holdfast_add_plugin name)
  cmake_parse_arguments(A "NO_INSTALL;NO_VERSION_SCRIPT" "OUTPUT_DIRECTORY" "SOURCES;LINK" ${ARGN})
  if(A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "holdfast_add_plugin(${name}): unknown arguments: ${A_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT A_OUTPUT_DIRECTORY)
    set(A_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
  endif()
  add_library(${name} MODULE ${A_SOURCES})
  set_target_properties(${name} PROPERTIES PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY ${A_OUTPUT_DIRECTORY}
      C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(${name} PRIVATE Holdfast::SDK ${A_LINK})
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>)
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT A_NO_VERSION_SCRIPT)
    set(script ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/holdfast_plugin.map)
    target_link_options(${name} PRIVATE -Wl,--version-script=${script})
    set_property(TARGET ${name} APPEND PROPERTY LINK_DEPENDS ${script})
  endif()
  if(NOT HOLDFAST_SANITIZE)  # a sanitizer's runtime is resolved from the executable
    target_link_options(${name} PRIVATE -Wl,-z,defs)
  endif()
  if(TARGET holdfast_build)
    target_link_libraries(${name} PRIVATE holdfast_build)
    # Most of a plugin are names for debuggers, and every byte is hashed and copied before it is loaded. (zstd: libdw reads it from 0.189 on.)
    target_link_options(${name} PRIVATE -Wl,--compress-debug-sections=zlib)
  endif()
  if(COMMAND holdfast_use_pch AND NOT "${A_SOURCES}" MATCHES "\\.c(;|$)")
    holdfast_use_pch(${name})
  endif()
  if(NOT A_NO_INSTALL)
    set_property(GLOBAL APPEND PROPERTY HOLDFAST_PLUGIN_TARGETS ${name})
    install(TARGETS ${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/holdfast/plugins COMPONENT plugins)
  endif()
endfunction()
