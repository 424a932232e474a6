#include "trainer/checkpoint/json_text.h"

#include <unordered_set>
#include <utility>
#include <vector>

#include "kernels/core/check.h"

namespace frugal {
namespace {

using nlohmann::json;

// Builds one member after the other. The library's own builders keep the last of equal names, and
// with a callback take quadratic time.
class MemberBuilder : public nlohmann::json_sax<json> {
 public:
  MemberBuilder(const std::string& where, JsonLimits limits, const UseMember& use)
      : where_(where), limits_(limits), use_(use) {}

  bool null() override { return scalar(nullptr); }
  bool boolean(bool value) override { return scalar(value); }
  bool number_integer(std::int64_t value) override { return scalar(value); }
  bool number_unsigned(std::uint64_t value) override { return scalar(value); }
  bool number_float(double value, const std::string&) override { return scalar(value); }
  bool string(std::string& value) override { return scalar(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }  // not in texts

  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    const bool outermost = open_.empty();
    const bool is_new = outermost ? names_.insert(name).second : !open_.back()->contains(name);
    if (!is_new) {
      fail(ErrorKind::kData, where_, ": ", json(name).dump(-1, ' ', true), " occurs twice");
    }
    if (outermost) values_ = 0;
    (outermost ? member_name_ : key_) = name;
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const json::exception&) override {
    fail(ErrorKind::kData, where_, ": not JSON (at byte ", byte, "); bring the whole file again");
  }

 private:
  // Where the value is now.
  json* add(json value) {
    if (!inside_) fail(ErrorKind::kData, where_, ": not a JSON object");
    if (++values_ > limits_.values) {
      fail(ErrorKind::kData, where_, ": '", member_name_, "' has more than ", limits_.values,
           " values");
    }
    if (open_.empty()) return &(member_ = std::move(value));
    json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    return &(parent[key_] = std::move(value));
  }

  bool scalar(json value) {
    add(std::move(value));
    if (open_.empty()) use_(member_name_, member_);
    return true;
  }

  bool open(json container) {
    if (!inside_ && container.is_object()) return inside_ = true;
    open_.push_back(add(std::move(container)));
    if (static_cast<int>(open_.size()) >= limits_.depth) {
      fail(ErrorKind::kData, where_, ": JSON of more than ", limits_.depth, " levels");
    }
    return true;
  }

  bool close() {
    if (open_.empty()) return true;  // the outermost object; the parser allows nothing behind it
    open_.pop_back();
    if (open_.empty()) use_(member_name_, member_);
    return true;
  }

  const std::string& where_;
  const JsonLimits limits_;
  const UseMember& use_;
  bool inside_ = false;
  std::unordered_set<std::string> names_;  // of the outermost object
  std::string member_name_, key_;
  json member_;
  std::vector<json*> open_;  // in member_
  std::int64_t values_ = 0;
};

}  // namespace

void for_each_member(std::string_view text, const std::string& where, JsonLimits limits,
                     const UseMember& use) {
  MemberBuilder builder(where, limits, use);
  json::sax_parse(text, &builder);
}

json parse_json_object(std::string_view text, const std::string& where, JsonLimits limits) {
  json object = json::object();
  for_each_member(text, where, limits,
                  [&](const std::string& name, const json& value) { object[name] = value; });
  return object;
}

}  // namespace frugal
