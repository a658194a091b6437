#pragma once
// Expectations of the checks, written like GoogleTest's, noted in the report of the check that runs. They are not GoogleTest's so
// that the `holdfast` program can run the checks without it. One check runs at a time in a process; its threads may note too.
#include <concepts>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace holdfast::testing::contract {

class report {
  public:
    static report& current() {
        static report r;
        return r;
    }
    void clear() {
        std::lock_guard lock(mutex_);
        failures_.clear();
        skipped_.clear();
    }
    void fail(std::string sentence) {
        std::lock_guard lock(mutex_);
        if (failures_.size() < most) failures_.push_back(std::move(sentence));
    }
    void skip(std::string why) {
        std::lock_guard lock(mutex_);
        skipped_ = std::move(why);
    }
    std::pair<std::vector<std::string>, std::string> take() {
        std::lock_guard lock(mutex_);
        return {std::exchange(failures_, {}), std::exchange(skipped_, {})};
    }

  private:
    static constexpr std::size_t most = 20;  // what one check may say
    std::mutex mutex_;
    std::vector<std::string> failures_;
    std::string skipped_;
};

/// One sentence under construction; `recorder() = note(…) << more` files it and is void, so that it can be returned.
class note {
  public:
    note(const char* file, int line, std::string what) : text_(std::move(what)) {
        const std::string path(file);
        where_ = " (" + path.substr(path.rfind('/') + 1) + ":" + std::to_string(line) + ")";
    }
    template <class T>
    note& operator<<(const T& value) {
        std::ostringstream out;
        out << value;
        said_ += out.str();
        return *this;
    }
    std::string text() const {
        std::string out = text_;
        if (!said_.empty()) out += (out.empty() ? "" : ": ") + said_;
        return out + where_;
    }

  private:
    std::string text_, said_, where_;
};
struct recorder {
    void operator=(const note& n) const { report::current().fail(n.text()); }
};

template <class T>
std::string shown(const T& v) {
    if constexpr (std::is_enum_v<T>)
        return std::to_string(static_cast<long long>(v));
    else if constexpr (std::same_as<T, std::nullptr_t>)
        return "null";
    else if constexpr (requires(std::ostringstream o) { o << v; }) {
        std::ostringstream out;
        out << v;
        return out.str();
    } else
        return "(a value)";
}
template <class T>
concept counts = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

template <class Op, class A, class B>
std::string compared(const char* text, Op op, const A& a, const B& b) {
    bool holds;
    if constexpr (counts<A> && counts<B>)
        holds = op(static_cast<__int128>(a), static_cast<__int128>(b));  // signed and unsigned of any width
    else
        holds = op(a, b);
    return holds ? std::string() : std::string("expected ") + text + ", but " + shown(a) + " and " + shown(b);
}
inline std::string truth(bool holds, const char* text) { return holds ? std::string() : std::string("expected ") + text; }

}  // namespace holdfast::testing::contract

// The switch keeps an `else` that follows from binding to the `if` in here.
#define HF_NOTE_UNLESS_EMPTY(text, leave)                                                        \
    switch (0)                                                                                   \
    case 0:                                                                                      \
    default:                                                                                     \
        if (const std::string hf_why = (text); hf_why.empty()) {                                 \
        } else                                                                                   \
            leave ::holdfast::testing::contract::recorder() = ::holdfast::testing::contract::note(__FILE__, __LINE__, hf_why)
#define HF_COMPARED(a, op, b) ::holdfast::testing::contract::compared(#a " " #op " " #b, [](const auto& hf_x, const auto& hf_y) { return bool(hf_x op hf_y); }, a, b)
#define HF_TRUTH(x, text) ::holdfast::testing::contract::truth(bool(x), text)

#define EXPECT_TRUE(x) HF_NOTE_UNLESS_EMPTY(HF_TRUTH(x, #x), )
#define EXPECT_FALSE(x) HF_NOTE_UNLESS_EMPTY(HF_TRUTH(!(x), "not " #x), )
#define EXPECT_EQ(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, ==, b), )
#define EXPECT_NE(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, !=, b), )
#define EXPECT_LT(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, <, b), )
#define EXPECT_LE(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, <=, b), )
#define EXPECT_GT(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, >, b), )
#define EXPECT_GE(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, >=, b), )
#define ASSERT_TRUE(x) HF_NOTE_UNLESS_EMPTY(HF_TRUTH(x, #x), return)
#define ASSERT_FALSE(x) HF_NOTE_UNLESS_EMPTY(HF_TRUTH(!(x), "not " #x), return)
#define ASSERT_EQ(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, ==, b), return)
#define ASSERT_LE(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, <=, b), return)
#define ASSERT_GT(a, b) HF_NOTE_UNLESS_EMPTY(HF_COMPARED(a, >, b), return)
#define ADD_FAILURE() ::holdfast::testing::contract::recorder() = ::holdfast::testing::contract::note(__FILE__, __LINE__, "")
#define DOES_NOT_APPLY(why) return ::holdfast::testing::contract::report::current().skip(why)
