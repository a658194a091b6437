# Every plugin. What it needs to be tested stands in its manifest, under "check". A plugin that does not exist is skipped.
#   contract_case(target [FLAGS …])
foreach(name llm-demo llm-openai transport-stdio transport-http transport-socket transport-websocket breaker-consecutive breaker-window health-threshold health-phi
        store-sqlite store-memory ui-tui ui-http ui-mcp-socket)
  contract_case(${name})
  # The same from outside as an author would, twice: in-process, and each instance in a process of its own.
  if(TARGET ${name})
    add_test(NAME plugin-check-${name} COMMAND holdfast plugin check $<TARGET_FILE:${name}>)
    set_tests_properties(plugin-check-${name} PROPERTIES TIMEOUT 120)
  endif()
endforeach()
contract_case(example-breaker-in-c)
contract_case(example-echo-llm)
contract_case(example-run-transport)
# A breaker that never opens is valid, but not a breaker: only what every plugin must do.
contract_case(example-first FLAGS --gtest_filter=lifecycle.*:host.*)

# The contract must be able to fail: each of these breaks one rule and is caught with that rule's words.
function(contract_catches target words)
  if(NOT TARGET ${target})
    return()
  endif()
  string(MAKE_C_IDENTIFIER "${words}" suffix)
  add_test(NAME contract-catches-${suffix} COMMAND holdfast_contract $<TARGET_FILE:${target}> ${ARGN})
  set_tests_properties(contract-catches-${suffix} PROPERTIES PASS_REGULAR_EXPRESSION "${words}" TIMEOUT 60)
endfunction()
set(one_chat --gtest_filter=llm.chat_streams*)
contract_catches(bad_calls "a second completion came" --settings [[{"mode":"twice"}]] ${one_chat})
contract_catches(bad_calls "a chunk came after the completion" --settings [[{"mode":"chunk_after_done"}]] ${one_chat})
contract_catches(bad_calls "although submit did not return HF_PENDING" --settings [[{"mode":"done_and_error"}]] ${one_chat})
contract_catches(bad_leaks_thread "threads were left behind" --gtest_filter=host.many_lives*)
contract_catches(example-first "failures alone never opened it" --gtest_filter=breaker.C4_a_hung*)
contract_catches(bad_no_interface "get_ext has nothing" --gtest_filter=lifecycle.promised*)
