// What each request does in SQL.
#include <sqlite3.h>

#include <map>

#include "holdfast/json.hpp"
#include "store-sqlite/database.hpp"

namespace store_sqlite {

namespace {
enum which : int {
    s_savepoint, s_release, s_undo, s_last, s_has, s_insert, s_advance, s_read, s_tail, s_streams, s_drop, s_drop_stream, s_trim, s_trim_stream, s_put, s_get, s_list, s_delete, count_of_statements
};
}  // namespace

/// A prepared statement in use: bound in order, reset at the end.
class statement {
  public:
    statement(database& d, int which, const char* sql) : d_(d), s_(d.prepared(which, sql)) {}
    ~statement() {
        sqlite3_reset(s_);
        sqlite3_clear_bindings(s_);
    }
    statement(const statement&) = delete;
    statement& operator=(const statement&) = delete;

    /// The text has to outlive the statement.
    statement& text(std::string_view t) { return check(sqlite3_bind_text64(s_, ++n_, t.data() ? t.data() : "", t.size(), SQLITE_STATIC, SQLITE_UTF8)); }
    statement& number(std::int64_t v) { return check(sqlite3_bind_int64(s_, ++n_, v)); }
    statement& null() { return check(sqlite3_bind_null(s_, ++n_)); }
    bool step() {
        const int rc = sqlite3_step(s_);
        if (rc != SQLITE_ROW && rc != SQLITE_DONE) d_.fail(rc, "statement");
        return rc == SQLITE_ROW;
    }
    /// step() for an insert that may break a uniqueness rule: false then.
    bool insert() {
        const int rc = sqlite3_step(s_);
        if ((rc & 0xFF) == SQLITE_CONSTRAINT) return false;
        if (rc != SQLITE_DONE) d_.fail(rc, "insert");
        return true;
    }
    std::int64_t integer(int column) const { return sqlite3_column_int64(s_, column); }
    std::string_view view(int column) const {
        const auto* t = reinterpret_cast<const char*>(sqlite3_column_text(s_, column));
        return t ? std::string_view(t, static_cast<std::size_t>(sqlite3_column_bytes(s_, column))) : std::string_view();
    }
    bool is_null(int column) const { return sqlite3_column_type(s_, column) == SQLITE_NULL; }
    std::int64_t changes() const { return sqlite3_changes64(sqlite3_db_handle(s_)); }

  private:
    statement& check(int rc) {
        if (rc != SQLITE_OK) d_.fail(rc, "bind");
        return *this;
    }
    database& d_;
    sqlite3_stmt* s_;
    int n_ = 0;
};

sqlite3_stmt* database::prepared(int which, const char* sql) {
    if (statements_.empty()) statements_.resize(count_of_statements, nullptr);
    sqlite3_stmt*& s = statements_[static_cast<std::size_t>(which)];
    if (!s) {
        const int rc = sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr);
        if (rc != SQLITE_OK) fail(rc, "prepare");
    }
    return s;
}

namespace {

void add_event(ask::rows& out, const statement& s, std::string_view stream) {
    out.event(stream, s.integer(0), s.view(1), s.is_null(2) ? std::nullopt : std::optional(s.view(2)), s.view(3), s.view(4));
}

}  // namespace

std::string database::run(const ask::request& r) {
    const bool many = std::holds_alternative<ask::append>(r) || std::holds_alternative<ask::drop>(r) || std::holds_alternative<ask::trim>(r);
    const auto one = [&] { return std::visit([this](const auto& what) { return run_one(what); }, r); };
    if (!many) return one();
    statement(*this, s_savepoint, "savepoint one_call").step();
    try {
        std::string out = one();
        statement(*this, s_release, "release one_call").step();
        return out;
    } catch (...) {
        if (!lost_transaction()) {
            statement(*this, s_undo, "rollback to one_call").step();
            statement(*this, s_release, "release one_call").step();
        }
        throw;
    }
}

std::int64_t database::last_of(std::string_view stream) {
    statement s(*this, s_last, "select last from streams where stream=?");
    s.text(stream);
    return s.step() ? s.integer(0) : 0;
}

bool database::has_event(std::string_view stream, std::int64_t seq) {
    statement s(*this, s_has, "select 1 from events where stream=? and seq=?");
    s.text(stream).number(seq);
    return s.step();
}

std::string database::run_one(const ask::append& r) {
    struct tip {
        std::int64_t last;
        std::int64_t added = 0;
    };
    std::map<std::string_view, tip> tips;
    for (const ask::event& e : r.events) {
        auto at = tips.find(e.stream);
        if (at == tips.end()) at = tips.emplace(e.stream, tip{last_of(e.stream)}).first;
        tip& t = at->second;
        if (e.seq <= t.last) {
            if (has_event(e.stream, e.seq))
                throw database_error(trouble::request, HF_E_EXISTS, "there is an event " + std::to_string(e.seq) + " in " + e.stream);
            throw database_error(trouble::request, HF_E_INVALID,
                                 "the last event of " + e.stream + " is " + std::to_string(t.last) + ": " + std::to_string(e.seq) + " is not above it");
        }
        statement s(*this, s_insert, "insert into events(stream,seq,type,idem_key,at,payload) values(?,?,?,?,?,?)");
        s.text(e.stream).number(e.seq).text(e.type);
        if (e.idem_key) s.text(*e.idem_key);
        else s.null();
        if (!s.text(e.at).text(e.data).insert())
            throw database_error(trouble::request, HF_E_EXISTS, "there is an event with the idem_key " + e.idem_key.value_or("") + " in " + e.stream);
        t.last = e.seq;
        ++t.added;
    }
    for (const auto& [stream, t] : tips) {
        statement s(*this, s_advance, "insert into streams(stream,last,events) values(?1,?2,?3) on conflict(stream) do update set last=?2, events=events+?3");
        s.text(stream).number(t.last).number(t.added).step();
    }
    return sdk::json_object({{"appended", r.events.size()}});
}

std::string database::run_one(const ask::read& r) {
    ask::rows out("events");
    {
        statement s(*this, s_read, "select seq,type,idem_key,at,payload from events where stream=? and seq>? order by seq limit ?");
        s.text(r.stream).number(r.after).number(r.limit);
        while (s.step()) add_event(out, s, r.stream);
    }
    return std::move(out).finish(last_of(r.stream));
}

std::string database::run_one(const ask::tail& r) {
    ask::rows out("events");
    {
        statement s(*this, s_tail, "select * from (select seq,type,idem_key,at,payload from events where stream=? and seq<=? order by seq desc limit ?) order by seq");
        s.text(r.stream).number(r.before ? *r.before - 1 : INT64_MAX).number(r.limit);
        while (s.step()) add_event(out, s, r.stream);
    }
    return std::move(out).finish(last_of(r.stream));
}

std::string database::run_one(const ask::last& r) { return sdk::json_object({{"last", last_of(r.stream)}}); }

std::string database::run_one(const ask::streams& r) {
    ask::rows out("streams");
    const std::string end = ask::after_prefix(r.prefix);
    statement s(*this, s_streams, "select stream,last,events from streams where stream>=?1 and stream>?2 and (?3='' or stream<?3) order by stream limit ?4");
    s.text(r.prefix).text(r.after).text(end).number(r.limit);
    while (s.step()) out.stream(s.view(0), s.integer(1), s.integer(2));
    return std::move(out).finish();
}

std::string database::run_one(const ask::drop& r) {
    std::int64_t dropped = 0;
    {
        statement s(*this, s_drop, "delete from events where stream=?");
        s.text(r.stream).step();
        dropped = s.changes();
    }
    statement(*this, s_drop_stream, "delete from streams where stream=?").text(r.stream).step();
    return sdk::json_object({{"dropped", dropped}});
}

std::string database::run_one(const ask::trim& r) {
    std::int64_t dropped = 0;
    {
        statement s(*this, s_trim, "delete from events where stream=?1 and seq<=(select seq from events where stream=?1 order by seq desc limit 1 offset ?2)");
        s.text(r.stream).number(r.keep).step();
        dropped = s.changes();
    }
    statement(*this, s_trim_stream, "update streams set events=events-?2 where stream=?1").text(r.stream).number(dropped).step();
    return sdk::json_object({{"dropped", dropped}});
}

std::string database::run_one(const ask::put& r) {
    statement s(*this, s_put, "insert into docs(tbl,key,value) values(?,?,?) on conflict(tbl,key) do update set value=excluded.value");
    s.text(r.table).text(r.key).text(r.value).step();
    return "{}";
}

std::string database::run_one(const ask::get& r) {
    statement s(*this, s_get, "select value from docs where tbl=? and key=?");
    s.text(r.table).text(r.key);
    return s.step() ? sdk::json_object({sdk::field::raw("value", std::string(s.view(0)))}) : R"({"value":null})";
}

std::string database::run_one(const ask::list& r) {
    ask::rows out("rows");
    const std::string end = ask::after_prefix(r.prefix);
    statement s(*this, s_list, "select key,value from docs where tbl=?1 and key>=?2 and key>?3 and (?4='' or key<?4) order by key limit ?5");
    s.text(r.table).text(r.prefix).text(r.after).text(end).number(r.limit);
    while (s.step()) out.row(s.view(0), s.view(1));
    return std::move(out).finish();
}

std::string database::run_one(const ask::erase& r) {
    statement s(*this, s_delete, "delete from docs where tbl=? and key=?");
    s.text(r.table).text(r.key).step();
    return sdk::json_object({{"deleted", s.changes() > 0}});
}

std::string database::run_one(const ask::status&) { return "{}"; }  // answered without the file

}  // namespace store_sqlite
