// Completion scripts. Names of servers, plugins and sessions come from the running host.
#include <iostream>

#include "app/command_line.hpp"
#include "app/commands.hpp"

namespace holdfast::app {
namespace {

constexpr const char* bash_script = R"sh(# holdfast completion for bash: eval "$(holdfast completion bash)"
_holdfast_names() { holdfast "$1" --json 2>/dev/null | grep -o "\"$2\":\"[^\"]*\"" | cut -d'"' -f4 | sort -u; }
_holdfast() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words
    case $prev in
        -c|--config) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        -s|--session) words=$(_holdfast_names sessions session_id) ;;
        -t|--topic) words="session:* server:* supervision health session:system session:admin_dashboard" ;;
        holdfast) words="run chat check schema tree plugins servers tools sessions llms info health events server ui plugin tool call completion --config --json --help --version" ;;
        server) words="start stop restart enable disable log login logout health health-log metrics set reset add remove import" ;;
        ui) words="start stop swap" ;;
        plugin) words="list new inspect check start stop restart reload release remove" ;;
        new) words="llm transport ui breaker health store" ;;
        --lang) words="c++ c rust" ;;
        --isolation) words="in-process process" ;;
        inspect|check) COMPREPLY=($(compgen -f -- "$cur")); return ;;
        tool) words="call" ;;
        completion) words="bash zsh fish" ;;
        *) case ${COMP_WORDS[1]} in
               server) words=$(_holdfast_names servers name) ;;
               plugin) case ${COMP_WORDS[2]} in
                           new) words="--lang --dir" ;;
                           check) words="--only --isolation --settings --with --unreachable --persistent --no-answers --no-start --timeout --json" ;;
                           *) words=$(_holdfast_names plugins id) ;;
                       esac ;;
               ui) words=$(_holdfast_names plugins id) ;;
               tool) if [ "$COMP_CWORD" = 3 ]; then words=$(_holdfast_names servers name); else words=$(_holdfast_names tools name); fi ;;
               chat) words="--session --message --yes --timeout" ;;
               events) words="--topic --from --follow --limit" ;;
               *) words="--config --json --help" ;;
           esac ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _holdfast holdfast
)sh";

constexpr const char* fish_script = R"sh(# holdfast completion for fish: holdfast completion fish | source
function __holdfast_names; holdfast $argv[1] --json 2>/dev/null | string match -ra "\"$argv[2]\":\"([^\"]*)\"" | string match -v '"*'; end
complete -c holdfast -f
complete -c holdfast -s c -l config -r -F -d 'Configuration file'
complete -c holdfast -l json -d 'Print JSON'
complete -c holdfast -n __fish_use_subcommand -a 'run chat check schema tree plugins servers tools sessions llms info health events server ui plugin tool call completion'
complete -c holdfast -n '__fish_seen_subcommand_from server' -a 'start stop restart enable disable log login logout health health-log metrics set reset add remove import (__holdfast_names servers name)'
complete -c holdfast -n '__fish_seen_subcommand_from ui' -a 'start stop swap (__holdfast_names plugins id)'
complete -c holdfast -n '__fish_seen_subcommand_from plugin' -a 'list new inspect check start stop restart reload release remove (__holdfast_names plugins id)'
complete -c holdfast -n '__fish_seen_subcommand_from inspect check' -F
complete -c holdfast -n '__fish_seen_subcommand_from new' -a 'llm transport ui breaker health store'
complete -c holdfast -n '__fish_seen_subcommand_from new' -l lang -x -a 'c++ c rust'
complete -c holdfast -n '__fish_seen_subcommand_from new' -l dir -r
complete -c holdfast -n '__fish_seen_subcommand_from tool' -a 'call (__holdfast_names servers name) (__holdfast_names tools name)'
complete -c holdfast -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
complete -c holdfast -n '__fish_seen_subcommand_from chat' -s s -l session -r -a '(__holdfast_names sessions session_id)'
)sh";

}  // namespace

int completion_command(const std::string& shell) {
    if (shell == "fish") std::cout << fish_script;
    else if (shell == "zsh") std::cout << "autoload -U +X bashcompinit && bashcompinit\n" << bash_script;
    else std::cout << bash_script;
    return exit_ok;
}

}  // namespace holdfast::app
