#include "wire.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>

namespace holdfast::demo {

void wire::write_line(const json& message) {
    if (broken_) return;
    std::string line = dump(message);
    line += '\n';
    std::size_t done = 0;
    while (done < line.size()) {
        const ssize_t n = ::write(fd_, line.data() + done, line.size() - done);
        if (n >= 0) {
            done += static_cast<std::size_t>(n);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            // The descriptor may have been made non-blocking by whoever shares it with us.
            pollfd p{fd_, POLLOUT, 0};
            ::poll(&p, 1, -1);
        } else if (errno != EINTR) {
            broken_ = true;
            return;
        }
    }
}

void wire::send(const json& message) {
    const std::lock_guard lock(out_mutex_);
    write_line(message);
}

void wire::send_for(const cancel_flag& cancelled, const json& message) {
    const std::lock_guard lock(out_mutex_);
    if (!cancelled.load()) write_line(message);
}

void wire::cancel(cancel_flag& flag) {
    {
        const std::lock_guard lock(out_mutex_);
        flag.store(true);
    }
    // Taking the lock orders the store before any waiter's next look at the flag.
    { const std::lock_guard lock(wait_mutex_); }
    wake_.notify_all();
}

bool wire::sleep(const cancel_flag& cancelled, std::chrono::milliseconds time) {
    std::unique_lock lock(wait_mutex_);
    return !wake_.wait_for(lock, time, [&] { return cancelled.load() || closing_.load(); });
}

outcome wire::ask(const cancel_flag& cancelled, const json& requests) {
    std::map<std::string, std::string> id_of_key;
    {
        const std::lock_guard lock(wait_mutex_);
        if (open_.size() + requests.size() > max_open_asks)
            return fail_with(code::internal_error, "too many questions to the client are waiting for an answer");
        for (const auto& [key, request] : requests.items()) {
            id_of_key[key] = "ask-" + std::to_string(next_id_++);
            open_[id_of_key[key]] = nullptr;
        }
    }
    for (const auto& [key, request] : requests.items()) {
        json message = request;
        message["jsonrpc"] = "2.0";
        message["id"] = id_of_key[key];
        send_for(cancelled, message);
    }

    json answers = json::object();
    std::string refusal;
    bool complete = false;
    std::vector<std::string> unanswered;
    {
        std::unique_lock lock(wait_mutex_);
        complete = wake_.wait_for(lock, ask_timeout, [&] {
            if (cancelled.load() || closing_.load()) return true;
            for (const auto& [key, id] : id_of_key)
                if (open_[id].is_null()) return false;
            return true;
        });
        for (const auto& [key, id] : id_of_key) {
            json response = std::move(open_[id]);
            open_.erase(id);
            if (response.is_null()) {
                unanswered.push_back(id);
            } else if (const json& e = member(response, "error"); e.is_object()) {
                refusal = string_or(e, "message", "no reason given");
            } else {
                answers[key] = member(response, "result");
            }
        }
    }
    if (!closing() && !unanswered.empty())
        for (const auto& id : unanswered)
            send({{"jsonrpc", "2.0"},
                  {"method", "notifications/cancelled"},
                  {"params", {{"requestId", id}, {"reason", complete ? "the call was cancelled" : "timed out"}}}});
    if (cancelled.load()) return cancelled_by_client();
    if (!unanswered.empty())
        return fail_with(code::internal_error,
                         closing() ? "the client left before it answered" : "the client did not answer in time");
    if (!refusal.empty()) return fail_with(code::internal_error, "the client refused the question: " + refusal);
    return answers;
}

void wire::answer(const json& response) {
    const json& id = member(response, "id");
    if (!id.is_string()) return;
    {
        const std::lock_guard lock(wait_mutex_);
        auto it = open_.find(id.get_ref<const std::string&>());
        if (it == open_.end() || !it->second.is_null()) return;
        it->second = response;
    }
    wake_.notify_all();
}

void wire::close() {
    {
        const std::lock_guard lock(wait_mutex_);
        closing_.store(true);
    }
    wake_.notify_all();
}

}  // namespace holdfast::demo
