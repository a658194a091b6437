// Workers that misbehave. Settings:
//   {"workers":[{"name":"w","mode":"ok|throw|return|no_beat|no_stop|stuck","after_ms"?:n,"restart"?:"permanent","incarnations"?:n}],
//    "heartbeat_ms"?:100,"shutdown_ms"?:0}
// A worker behaves (beats, honours stop) for after_ms, then does what its mode says:
//   throw    throws            return   returns normally         no_beat  stops beating, still honours stop
//   no_stop  beats, ignores stop for good                        stuck    neither beats nor stops
// "incarnations": n — only the first n incarnations misbehave, later ones are ok. 0 or absent: all.
#include <chrono>
#include <stdexcept>
#include <thread>

#include <nlohmann/json.hpp>

#include "allow_all.hpp"

using namespace holdfast::sdk;
using std::chrono::milliseconds;

class misbehaving final : public holdfast::bad::allow_all {
  public:
    using allow_all::allow_all;
    void start() override {
        const auto all = nlohmann::json::parse(settings_);
        for (const auto& w : all.value("workers", nlohmann::json::array())) {
            worker_options options;
            options.name = w.at("name");
            options.restart = w.value("restart", "permanent");
            options.heartbeat = milliseconds(all.value("heartbeat_ms", 100));
            options.shutdown = milliseconds(all.value("shutdown_ms", 0));
            host_.workers().start(options, [mode = w.value("mode", "ok"), after = milliseconds(w.value("after_ms", 0)),
                                            bad_runs = w.value("incarnations", 0u), name = options.name](worker_ctl& ctl) {
                run(ctl, bad_runs && ctl.incarnation() > bad_runs ? "ok" : mode, after, name);
            });
        }
    }

  private:
    static void run(worker_ctl& ctl, const std::string& mode, milliseconds after, const std::string& name) {
        const auto until = std::chrono::steady_clock::now() + after;
        while (mode == "ok" || std::chrono::steady_clock::now() < until)
            if (ctl.wait(milliseconds(5))) return;
        if (mode == "throw") throw std::runtime_error("bad_workers: " + name + " throws");
        if (mode == "return") return;
        if (mode == "no_beat")
            while (!ctl.stop_requested()) std::this_thread::sleep_for(milliseconds(1));
        if (mode == "no_stop")
            for (;;) ctl.beat(), std::this_thread::sleep_for(milliseconds(1));
        if (mode == "stuck")
            for (;;) std::this_thread::sleep_for(milliseconds(20));
    }
};
HOLDFAST_PLUGIN(misbehaving, R"({"id":"bad_workers","kind":"breaker","version":"1.0.0","abi":[1,1],"interfaces":["hf.breaker/1"],
"settings":{"type":"object","properties":{"heartbeat_ms":{"type":"integer"},"shutdown_ms":{"type":"integer"},
"workers":{"type":"array","items":{"type":"object","required":["name"],"properties":{"name":{"type":"string"},
"mode":{"enum":["ok","throw","return","no_beat","no_stop","stuck"]},"after_ms":{"type":"integer"},"restart":{"type":"string"},
"incarnations":{"type":"integer"}}}}}}})")
