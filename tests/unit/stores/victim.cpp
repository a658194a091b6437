// A program that writes as fast as it can until it is killed: store_victim <plugin> <database>. For each event that was
// acknowledged it writes "<stream> <seq>\n" to its standard output, after the acknowledgement.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "holdfast/ext/store.h"
#include "holdfast/json.hpp"
#include "holdfast/testing/loader.hpp"

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    using namespace holdfast;
    testing::plugin_file file(argv[1]);
    testing::plugin_instance store(file, {.settings = sdk::json_object({{"path", argv[2]}})});
    if (const auto s = store.up(); !s.ok()) {
        std::fprintf(stderr, "%s\n", s.message.c_str());
        return 3;
    }
    const auto* table = store.ext<hf_store>(HF_EXT_STORE);
    const auto ask = [&](std::string_view method, const std::string& request) {
        auto p = std::make_unique<testing::call_probe>();
        p->submit(table->submit, store.self(), method, request);
        p->wait();
        return p;
    };
    std::vector<std::thread> writers;
    for (int t = 0; t < 4; ++t)
        writers.emplace_back([&, t] {
            const std::string stream = "s" + std::to_string(t);
            auto seq = sdk::json_number<long>(ask("last", sdk::json_object({{"stream", stream}}))->result(), "last", -1);
            while (seq >= 0) {
                const std::string event = sdk::json_object({{"stream", stream}, {"seq", ++seq}, {"type", "t"}, {"at", "now"},
                                                            sdk::field::raw("data", sdk::json_object({{"text", std::string(static_cast<std::size_t>(seq % 3000), 'x')}}))});
                if (!ask("append", "{\"events\":[" + event + "]}")->outcome().ok()) std::_Exit(4);
                const std::string line = stream + " " + std::to_string(seq) + "\n";
                if (::write(STDOUT_FILENO, line.data(), line.size()) < 0) std::_Exit(5);
            }
        });
    for (auto& w : writers) w.join();
    return 6;
}
