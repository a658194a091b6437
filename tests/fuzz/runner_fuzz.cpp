// The host's side of a plugin in a process of its own, against a runner that says anything: a real proxy over real sockets, this fuzzer
// at their other ends, a host below that keeps the rules and insists on them. An hour of it: tests/fuzz/run.sh runner 3600
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <filesystem>
#include <future>
#include <random>
#include <stdexcept>

#include "fake_host.hpp"
#include "holdfast/ext/breaker.h"
#include "holdfast/ext/health.h"
#include "holdfast/ext/llm.h"
#include "holdfast/ext/store.h"
#include "holdfast/ext/transport.h"
#include "holdfast/ext/ui.h"
#include "kernel/plugins/isolation/proxy.hpp"
#include "runner_input.hpp"

using namespace holdfast;
using namespace holdfast::fuzz;
using plugins::isolation::inline_bytes;
using plugins::isolation::max_frame_bytes;
using plugins::isolation::proxy;
using plugins::isolation::unique_fd;

namespace {

constexpr std::size_t max_operations = 48;
constexpr std::size_t max_descriptors = 512;  ///< of this process: far more than one round needs
constexpr int worker_patience_ms = 200;
constexpr int reply_patience_ms = 15'000;  ///< a machine may be busy

unique_fd memfd(std::string_view content, std::uint64_t size, unsigned seals) {
    unique_fd f(memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    insist(f && ftruncate(f.get(), static_cast<off_t>(size)) == 0, "a memfd");
    insist(pwrite(f.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()), "a memfd's content");
    insist(seals == 0 || fcntl(f.get(), F_ADD_SEALS, seals) == 0, "its seals");
    return f;
}
constexpr unsigned all_seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;

/// One message with any number of descriptors. Never blocks.
bool send_raw(int fd, std::string_view data, const std::vector<int>& attached) {
    iovec part{const_cast<char*>(data.data()), data.size()};
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    alignas(cmsghdr) char room[CMSG_SPACE(8 * sizeof(int))]{};
    if (!attached.empty()) {
        m.msg_control = room;
        m.msg_controllen = CMSG_SPACE(attached.size() * sizeof(int));
        cmsghdr* c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(attached.size() * sizeof(int));
        std::memcpy(CMSG_DATA(c), attached.data(), attached.size() * sizeof(int));
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

/// A frame as the fuzzer wants it delivered. `whole`: the receiver takes it for a frame, good or bad.
struct delivery {
    bool sent = false, whole = false;
};
delivery deliver(int fd, std::string frame, bytes& in) {
    const auto how = in.byte();
    if (how < 150) {  // as it should be
        return {plugins::isolation::send_frame(fd, frame, MSG_DONTWAIT) == plugins::isolation::sent::yes, true};
    }
    const auto cut = [&](std::size_t most) { return std::string_view(frame).substr(0, most); };
    switch (how % 12) {
        case 0: {  // shorter than it should be
            frame.resize(frame.size() - std::min<std::size_t>(frame.size() - 2, in.byte() % 16));
            return {plugins::isolation::send_frame(fd, frame, MSG_DONTWAIT) == plugins::isolation::sent::yes, true};
        }
        case 1: {  // longer
            frame.append(in.take(in.byte() % 16));
            return {plugins::isolation::send_frame(fd, frame, MSG_DONTWAIT) == plugins::isolation::sent::yes, true};
        }
        case 2: {  // of another kind
            const auto kind = in.raw<std::uint16_t>();
            std::memcpy(frame.data(), &kind, sizeof kind);
            return {plugins::isolation::send_frame(fd, frame, MSG_DONTWAIT) == plugins::isolation::sent::yes, true};
        }
        case 3: {  // with a descriptor that nobody asked for
            const unique_fd extra(eventfd(0, EFD_CLOEXEC));
            return {send_raw(fd, cut(inline_bytes), {extra.get()}), false};
        }
        case 4: return {send_raw(fd, "m", {memfd(frame, frame.size(), all_seals).get()}), true};
        case 5: return {send_raw(fd, "m", {memfd(frame, frame.size(), 0).get()}), false};
        case 6: {  // not sealed enough
            constexpr unsigned some[] = {F_SEAL_WRITE, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_SHRINK};
            return {send_raw(fd, "m", {memfd(frame, frame.size(), some[in.byte() % 4]).get()}), false};
        }
        case 7: return {send_raw(fd, "m", {memfd({}, in.byte() % 2, all_seals).get()}), false};           // too small
        case 8: return {send_raw(fd, "m", {memfd({}, max_frame_bytes + 1, all_seals).get()}), false};     // too large
        case 9: return {send_raw(fd, "m", {memfd(frame, frame.size() + (1u << 20), all_seals).get()}), true};  // with a hole at its end
        case 10: {  // no memfd
            const unique_fd other(in.byte() % 2 ? eventfd(0, EFD_CLOEXEC) : ::open("/dev/null", O_RDWR | O_CLOEXEC));
            return {send_raw(fd, "m", {other.get()}), false};
        }
        default: {  // too many, or none, or nothing
            const auto one = memfd(frame, frame.size(), all_seals);
            const auto count = in.byte() % 8;
            return {send_raw(fd, count == 7 ? "" : "m", std::vector<int>(static_cast<std::size_t>(count % 7), one.get())), false};
        }
    }
}

/// A call or a connection of the host: freed when it ends, as its owner would.
struct handle {
    std::multiset<std::uint64_t>* open = nullptr;
    std::uint64_t id = 0;
    std::string payload = "alive";
    void look(hf_bytes b) const { read_all(payload), read_all(view(b)); }
};

class session {
  public:
    session() {
        for (auto& l : lines_) {
            auto made = plugins::isolation::socket_pair();
            insist(bool(made), "a socket pair");
            l.host = std::move(made->first);
            l.mine = std::move(made->second);
        }
        plugins::isolation::proxy_options o;
        o.id = "fuzzed";
        o.log = [](int, std::string message, json) { read_all(message); };
        o.crashed = [](std::string why) { read_all(why); };
        proxy_ = proxy::create(std::move(o));
        proxy_->attach({std::move(lines_[control].host), std::move(lines_[calls].host), std::move(lines_[told].host), std::move(lines_[services].host)});
        expect(control, shape, [&] {
            hf_error err = plugins::empty_hf_error();
            insist(proxy_->make(host_.host(), as_bytes("{}"), &table_, &err) == HF_OK && table_, "make");
        });
        find(HF_EXT_LLM, llm_);
        find(HF_EXT_STORE, store_);
        find(HF_EXT_TRANSPORT, transport_);
        find(HF_EXT_BREAKER, breaker_);
        find(HF_EXT_HEALTH, health_);
        find(HF_EXT_UI, ui_);
    }
    ~session() {
        settle();
        // What was said is heard before the end of it: the host reads until the socket is closed.
        for (auto& l : lines_) l.mine.reset();
        host_.revoke();
        table_->destroy(table_->self);
        proxy_->end();
        insist(proxy_.use_count() == 1, "somebody keeps the proxy");
        proxy_.reset();
        insist(open_calls_.empty(), "a call was not completed");
        insist(open_conns_.empty(), "a connection was not closed");
    }

    void perform(const operation& o) {
        bytes in(o.payload);
        switch (o.code % 16) {
            case 0:
            case 1:
            case 2: return tell(in);
            case 3:
            case 4:
            case 5: return ask(in);
            case 6: return submit(in);
            case 7: return connect(in);
            case 8: return use_connection(in);
            case 9: return policy(in);
            case 10: return step(in);
            case 11: {
                const auto which = in.byte();
                return host_.event(which, in.rest());
            }
            case 12: {
                const auto which = in.byte(), what = in.byte();
                return host_.process_says(which, what, in.rest());
            }
            case 13: {
                const auto which = in.byte(), well = in.byte();
                return host_.api_answers(which, well & 1, in.rest());
            }
            case 14: return raw(in);
            default: return odd(in);
        }
    }

  private:
    enum line : std::uint8_t { control, calls, told, services };
    struct ends {
        unique_fd host, mine;
    };

    /// As a table of one's own looks: see table_shape.
    inline static const std::string shape = [] {
        frame_maker f(kind::reply);
        return std::move(f.put(std::uint32_t(64)).put(~std::uint64_t(0))).data().substr(sizeof(std::uint16_t));
    }();
    template <class Table>
    void find(const char* id, const Table*& to) {
        expect(control, shape, [&] { to = static_cast<const Table*>(table_->get_ext(table_->self, {id, std::strlen(id)})); });
        insist(to != nullptr, "get_ext");
    }
    /// A good reply, and the question that it answers.
    template <class F>
    void expect(line l, const std::string& fields, F question) {
        frame_maker reply(kind::reply);
        reply.put(tells_).put(std::int32_t(0));
        insist(plugins::isolation::send_frame(lines_[l].mine.get(), std::move(reply).data() + fields, 0) == plugins::isolation::sent::yes, "a reply");
        question();
        drain(l);
    }

    /// A reply as the fuzzer wants it. It is there before the question: nobody waits.
    void reply(line l, const char* fields, bytes& in) {
        const auto how = in.byte();
        if (how == 255) {  // as it is, but for how much was told
            std::string frame(in.rest());
            if (frame.size() >= 2 + sizeof tells_) std::memcpy(frame.data() + 2, &tells_, sizeof tells_);
            send_raw(lines_[l].mine.get(), frame, {});
            return;
        }
        frame_maker f(how < 200 ? kind::reply : how < 225 ? kind::threw : static_cast<kind>(in.raw<std::uint16_t>()));
        f.put(in.byte() % 2 ? tells_ : tells_ - tells_ % 3);  // never more than there are, which would be waited for
        if (how >= 200 && how < 225) f.fields("t", in);
        else if (f.result(in) >= 0) f.fields(fields, in);
        deliver(lines_[l].mine.get(), std::move(f).data(), in);
    }
    template <class F>
    void question(line l, F f) {
        try {
            f();
        } catch (const std::runtime_error& e) {  // "threw": for the boundary above
            read_all(e.what());
        }
        if (!keep_unread_) drain(l);
    }

    void tell(bytes& in) {
        const auto& s = tells[in.byte() % std::size(tells)];
        frame_maker f(s.what);
        const auto sent = deliver(lines_[told].mine.get(), std::move(f.fields(s.fields, in)).data(), in);
        tells_ += sent.sent && sent.whole;
        tells_broken_ |= sent.sent && !sent.whole;
    }
    void ask(bytes& in) {
        const auto& s = requests[in.byte() % std::size(requests)];
        frame_maker f(s.what);
        asked(deliver(lines_[services].mine.get(), std::move(f.fields(s.fields, in)).data(), in));
        if (in.byte() % 4 != 0) settle();
    }
    void asked(delivery d) {
        if (d.sent && !d.whole) services_broken_ = true;
        if (d.sent && !services_broken_) ++unanswered_;
    }
    /// Waits until every request has its answer.
    void settle() {
        for (; unanswered_ > 0 && !services_broken_; --unanswered_) {
            pollfd p{lines_[services].mine.get(), POLLIN, 0};
            int ready;
            do ready = poll(&p, 1, reply_patience_ms);
            while (ready < 0 && errno == EINTR);  // libFuzzer's own alarm, every few seconds
            insist(ready == 1, "a request was not answered");
            plugins::isolation::frame f;
            unique_fd with;
            if (receive(p.fd, f, MSG_DONTWAIT, &with) != plugins::isolation::received::one) break;
            read_all(f.bytes());
        }
        unanswered_ = 0;
    }
    void drain(line l) {
        plugins::isolation::frame f;
        unique_fd with;
        while (receive(lines_[l].mine.get(), f, MSG_DONTWAIT, &with) == plugins::isolation::received::one) read_all(f.bytes());
    }

    void submit(bytes& in) {
        const bool to_llm = in.byte() % 2;
        const std::uint64_t id = in.byte() % 8;
        if (in.byte() % 8 == 0) {
            reply(calls, "", in);
            return question(calls, [&] { (to_llm ? llm_->cancel : store_->cancel)(table_->self, id); });
        }
        reply(calls, "", in);
        auto* ctx = new handle{&open_calls_, id};
        hf_call c{sizeof(hf_call), 0, id, 0, {"chat", 4}, as_bytes("{}"), ctx, nullptr, nullptr};
        c.on_chunk = [](void* h, std::uint64_t, hf_bytes b) { static_cast<handle*>(h)->look(b); };
        c.on_done = [](void* h, std::uint64_t n, const hf_error* err, hf_bytes b) {
            std::unique_ptr<handle> mine(static_cast<handle*>(h));
            mine->look(b);
            read_all(err);
            insist(mine->id == n, "completed under another number");
            std::lock_guard lock(ended_mutex());
            mine->open->erase(mine->open->find(n));
        };
        begin(calls, open_calls_, ctx, [&](hf_error* err) { return (to_llm ? llm_->submit : store_->submit)(table_->self, &c, err); }, [](std::int32_t rc) { return rc == HF_PENDING; });
    }
    void connect(bytes& in) {
        const std::uint64_t id = in.byte() % 8;
        reply(calls, "", in);
        auto* ctx = new handle{&open_conns_, id};
        const hf_transport_sink sink{sizeof sink, 0, ctx, [](void* h, hf_bytes b) { static_cast<handle*>(h)->look(b); },
                                     [](void* h, hf_bytes b) { static_cast<handle*>(h)->look(b); },
                                     [](void* h, hf_bytes b, const hf_error* err) { static_cast<handle*>(h)->look(b), read_all(err); },
                                     [](void* h, hf_str s) { static_cast<handle*>(h)->look({s.data, s.length}); },
                                     [](void* h, const hf_error* err) {
                                         std::unique_ptr<handle> mine(static_cast<handle*>(h));
                                         mine->look({});
                                         read_all(err);
                                         std::lock_guard lock(ended_mutex());
                                         mine->open->erase(mine->open->find(mine->id));
                                     }};
        begin(calls, open_conns_, ctx, [&](hf_error* err) { return transport_->open(table_->self, id, as_bytes("{}"), &sink, err); }, [](std::int32_t rc) { return rc == HF_OK; });
    }
    static std::mutex& ended_mutex() {
        static std::mutex m;
        return m;
    }
    /// Submits or opens. Taken: it ends by a callback, perhaps already. Not taken: no callback follows, and it is freed.
    template <class F, class Taken>
    void begin(line l, std::multiset<std::uint64_t>& open, handle* ctx, F f, Taken taken) {
        {
            std::lock_guard lock(ended_mutex());
            open.insert(ctx->id);
        }
        hf_error err = plugins::empty_hf_error();
        std::int32_t rc = HF_E_INTERNAL;
        question(l, [&] { rc = f(&err); });
        if (taken(rc)) return;
        if (rc < 0) read_all(&err);
        std::lock_guard lock(ended_mutex());
        open.erase(open.find(ctx->id));
        delete ctx;
    }
    void use_connection(bytes& in) {
        const std::uint64_t id = in.byte() % 8;
        const auto what = in.byte() % 3;
        reply(calls, "", in);
        question(calls, [&] {
            hf_error err = plugins::empty_hf_error();
            if (what == 0) (void)transport_->send(table_->self, id, as_bytes("{}"), &err);
            else if (what == 1) transport_->abandon(table_->self, id, as_bytes("1"));
            else transport_->close(table_->self, id, 0);
        });
    }
    void policy(bytes& in) {
        const auto what = in.byte() % 9;
        constexpr const char* answers[] = {"", "", "iqq", "", "iquuqqqq", "", "", "idqqt", ""};
        reply(calls, answers[what], in);
        void* h = handle_of(in.byte() % 4);
        constexpr std::int64_t now = 1'000'000'000'000;
        question(calls, [&] {
            hf_error err = plugins::empty_hf_error();
            hf_permit permit{};
            permit.size = sizeof permit;
            hf_breaker_state state{};
            state.size = sizeof state;
            hf_health_sample sample{};
            hf_health_verdict verdict{};
            verdict.size = sizeof verdict;
            void* made = nullptr;
            switch (what) {
                case 0: (void)(in.byte() % 2 ? health_->open : breaker_->open)(table_->self, as_bytes("{}"), 1, now, &made, &err); break;
                case 1: (in.byte() % 2 ? health_->close : breaker_->close)(table_->self, h); break;
                case 2:
                    breaker_->permit(table_->self, h, now, &permit);
                    insist((permit.granted == 0 || permit.granted == 1) && permit.retry_after_ns >= -1 && permit.retry_after_ns <= plugins::isolation::longest_ns, "a permit");
                    break;
                case 3: breaker_->report(table_->self, h, 1, 0, 1, now); break;
                case 4:
                    breaker_->state(table_->self, h, now, &state);
                    insist(state.state >= HF_BREAKER_CLOSED && state.state <= HF_BREAKER_DISABLED, "a breaker's state");
                    break;
                case 5: breaker_->force(table_->self, h, 0, now); break;
                case 6: health_->observe(table_->self, h, &sample); break;
                case 7:
                    health_->verdict(table_->self, h, now, &verdict);
                    insist(verdict.state >= HF_HEALTH_UNKNOWN && verdict.state <= HF_HEALTH_DOWN && verdict.score == verdict.score, "a verdict");
                    insist(verdict.next_check_ns >= now && verdict.next_check_ns <= now + plugins::isolation::longest_ns, "a next check");
                    insist(verdict.probe_timeout_ns > 0 && verdict.probe_timeout_ns <= plugins::isolation::longest_ns, "a probe's timeout");
                    read_all({verdict.reason, strnlen(verdict.reason, sizeof verdict.reason)});
                    insist(strnlen(verdict.reason, sizeof verdict.reason) < sizeof verdict.reason, "a reason without an end");
                    break;
                default: health_->reset(table_->self, h, now);
            }
        });
    }
    static void* handle_of(std::uint64_t n) { return reinterpret_cast<void*>(n); }

    /// The steps of an instance, which also hear what was told before.
    void step(bytes& in) {
        const auto what = in.byte() % 8;
        reply(control, what >= 6 ? "t" : what == 0 ? "iq" : "", in);
        question(control, [&] {
            hf_error err = plugins::empty_hf_error();
            hf_buf out{sizeof(hf_buf), 0, nullptr, 0, nullptr, nullptr};
            std::int32_t rc = HF_OK;
            switch (what) {
                case 0: (void)table_->get_ext(table_->self, {"hf.llm/1", 8}); break;
                case 1: rc = table_->init(table_->self, &err); break;
                case 2: rc = table_->start(table_->self, &err); break;
                case 3: rc = table_->quiesce(table_->self, 0, &err); break;
                case 4: rc = table_->stop(table_->self, &err); break;
                case 5: rc = ui_->import_state(table_->self, as_bytes("{}"), &err); break;
                case 6: rc = ui_->describe(table_->self, &out, &err); break;
                default: rc = ui_->export_state(table_->self, &out, &err);
            }
            if (rc < 0) read_all(&err);
            read_all(plugins::take(out));
        });
    }
    /// A frame of the fuzzer's own, or one that a real runner sent.
    void raw(bytes& in) {
        const auto where = in.byte();
        std::string frame(in.rest());
        if (where % 2 == 0) {
            tells_ += send_raw(lines_[told].mine.get(), frame, {}) && frame.size() >= 2;
            tells_broken_ |= frame.size() < 2;
            return;
        }
        asked({send_raw(lines_[services].mine.get(), frame, {}), frame.size() >= 2});
        settle();
    }
    /// As the host does it: an instance whose workers take too long is ended.
    void stop_workers() {
        std::promise<void> stopped;
        std::thread patience([this, all = stopped.get_future()] {
            if (all.wait_for(std::chrono::milliseconds(worker_patience_ms)) != std::future_status::timeout) return;
            proxy_->kill("its workers do not stop");
            for (auto& l : lines_) shutdown(l.mine.get(), SHUT_RDWR);  // as the end of its process does
            services_broken_ = tells_broken_ = true;
        });
        host_.stop_workers();
        stopped.set_value();
        patience.join();
    }
    void odd(bytes& in) {
        switch (in.byte() % 6) {
            case 0: keep_unread_ = !keep_unread_; return;
            case 1: return stop_workers();
            case 2: proxy_->kill("the fuzzer said so"); return;
            case 3: proxy_->set_level(in.byte()); return;
            case 4: read_all(dump(proxy_->describe())); return;
            default: {  // one line is closed; the host may notice or not
                auto& l = lines_[in.byte() % 4];
                shutdown(l.mine.get(), SHUT_RDWR);
                services_broken_ |= &l == &lines_[services];
            }
        }
    }

    fake_host host_;
    ends lines_[4];
    std::shared_ptr<proxy> proxy_;  // second owner: its threads
    const hf_instance* table_ = nullptr;
    const hf_llm* llm_ = nullptr;
    const hf_store* store_ = nullptr;
    const hf_transport* transport_ = nullptr;
    const hf_breaker* breaker_ = nullptr;
    const hf_health* health_ = nullptr;
    const hf_ui* ui_ = nullptr;
    std::multiset<std::uint64_t> open_calls_, open_conns_;  // under ended_mutex()
    std::uint64_t tells_ = 0;        ///< told so far, as the runner counts them
    std::size_t unanswered_ = 0;
    bool tells_broken_ = false, services_broken_ = false;
    bool keep_unread_ = false;       ///< the runner does not read what it is asked
};

std::size_t open_descriptors() {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator{}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    {
        session r;
        for (const auto& o : operations({reinterpret_cast<const char*>(data), size}, max_operations)) r.perform(o);
    }
    static std::size_t rounds = 0;
    if (++rounds % 256 == 0) insist(open_descriptors() < max_descriptors, "descriptors are left behind");
    return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Operations are moved, doubled, dropped and made up as a whole; inside one, libFuzzer's own mutations.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
    std::minstd_rand random(seed);
    auto all = operations({reinterpret_cast<const char*>(data), size}, max_operations);
    const auto any = [&] { return random() % all.size(); };
    const auto fresh = [&] {
        operation o{static_cast<std::uint8_t>(random()), std::string(random() % 24, '\0')};
        for (char& c : o.payload) c = static_cast<char>(random() >> 7);
        return o;
    };
    switch (all.empty() ? 0 : random() % 8) {
        case 0: all.insert(all.begin() + static_cast<std::ptrdiff_t>(random() % (all.size() + 1)), fresh()); break;
        case 1: all.erase(all.begin() + static_cast<std::ptrdiff_t>(any())); break;
        case 2: all.insert(all.begin() + static_cast<std::ptrdiff_t>(any()), all[any()]); break;
        case 3: std::swap(all[any()], all[any()]); break;
        case 4: return LLVMFuzzerMutate(data, size, max_size);
        default: {
            auto& p = all[any()].payload;
            const auto room = std::min<std::size_t>(p.size() + 64, max_size);
            std::vector<std::uint8_t> copy(p.begin(), p.end());
            copy.resize(std::max(room, p.size()));
            const auto n = LLVMFuzzerMutate(copy.data(), p.size(), copy.size());
            p.assign(reinterpret_cast<const char*>(copy.data()), n);
        }
    }
    const auto out = written(all);
    if (out.empty() || out.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
    std::memcpy(data, out.data(), out.size());
    return out.size();
}
