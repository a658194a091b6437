#pragma once
// An HTTP server for tests over raw sockets: each request is handed to a script, which writes whatever bytes it likes. One
// thread per connection; all end with the server.
#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace holdfast::testing {

struct heard_request {
    std::string method, target, head, body;  ///< head: as received
    /// Value of a header, compared without case; empty when absent.
    std::string header(std::string_view name) const;
    bool has(std::string_view name) const;
};

class script_server {
  public:
    class peer {
      public:
        explicit peer(int fd) : fd_(fd) {}
        bool write(std::string_view bytes);  ///< false: the client has gone
        /// A whole answer with Content-Length.
        bool answer(int status, std::string_view type, std::string_view body, std::string_view more_headers = {});
        bool events();                       ///< the header of an endless event stream, in chunks
        bool chunk(std::string_view bytes);  ///< one HTTP chunk
        bool last_chunk() { return write("0\r\n\r\n"); }
        bool wait_gone();                    ///< blocks until the client closes; true
        void reset();                        ///< RST
        void hang_up();                      ///< FIN; no further request is read
        bool open() const { return open_; }

      private:
        friend class script_server;
        int fd_;
        bool open_ = true;
    };
    using script = std::function<void(const heard_request&, peer&)>;

    explicit script_server(script s);
    ~script_server();
    script_server(const script_server&) = delete;
    script_server& operator=(const script_server&) = delete;

    std::string url(std::string_view path = "") const { return "http://127.0.0.1:" + std::to_string(port_) + std::string(path); }
    std::vector<heard_request> heard() const;
    std::size_t connections() const { return accepted_; }
    /// Waits until `n` requests have been heard; false after 10 s.
    bool wait_heard(std::size_t n);

  private:
    void accept_all();
    void serve(int fd);
    const script script_;
    int listener_ = -1;
    int port_ = 0;
    std::atomic<std::size_t> accepted_{0};
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<heard_request> heard_;
    std::set<int> open_;
    std::list<std::thread> threads_;
    std::thread acceptor_;
};

}  // namespace holdfast::testing
