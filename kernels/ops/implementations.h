// A backend's implementations of one op, from the fastest to the most general: the first that
// accepts the problem runs. With FRUGAL_VERBOSE=ops the program says on standard error which one
// that is, and why those before it declined: once for each problem.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "kernels/core/check.h"
#include "kernels/core/stream.h"

namespace frugal {

template <class Args>
struct Implementation {
  const char* name;
  // Why it does not take the problem; nullptr: it does. Never reads data.
  const char* (*declines)(Stream& stream, const Args& args);
  void (*run)(Stream& stream, const Args& args);
};

// Whether FRUGAL_VERBOSE lists `topic`; read once.
bool verbose(std::string_view topic);
// Says a line that was not said before. Thread-safe.
void say_once(const std::string& line);

// text_of(args): the problem, for messages. Throws Error(kInternal) when all decline.
template <class Args, class TextOf>
void run_first(std::string_view op, std::span<const Implementation<Args>> implementations,
               Stream& stream, const Args& args, TextOf text_of) {
  static const bool says = verbose("ops");
  std::string declined;
  for (const Implementation<Args>& implementation : implementations) {
    const char* why = implementation.declines(stream, args);
    if (why == nullptr) {
      if (says) say_once(concat(op, " ", text_of(args), ": ", implementation.name, declined));
      return implementation.run(stream, args);
    }
    if (says) declined += concat("; not ", implementation.name, ": ", why);
  }
  fail(ErrorKind::kInternal, op, " ", text_of(args), ": no implementation takes it");
}

}  // namespace frugal
