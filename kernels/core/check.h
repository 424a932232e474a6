// Errors. One exception type for the whole program; main.cc alone turns it into a message and an
// exit code.
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace frugal {

// What went wrong, in the terms of the exit codes a user meets (README, "Exit codes").
enum class ErrorKind : int {
  kInternal = 1,   // a bug in Frugal
  kUsage = 2,      // command line or config
  kPreflight = 3,  // the machine cannot run this: no GPU, too little memory, wrong number of ranks
  kData = 4,       // a data shard, tokenizer or checkpoint is missing, damaged or does not belong
  kDiverged = 5,   // too many updates with a non-finite gradient
  kCommunication = 6,  // a peer or a transport failed
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

// The rank of the calling thread, for messages; -1 before ranks exist. Ranks may be threads.
void set_thread_rank(int rank);
int thread_rank();

// "a", 1, "b" -> "a1b".
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// Throws Error(kInternal) with file, line, rank and the failed condition.
[[noreturn]] void fail_check(const char* file, int line, const char* condition,
                             const std::string& message);

// Throws Error(kind): the message is for a user and names where, what and what to do.
template <class... Parts>
[[noreturn]] void fail(ErrorKind kind, const Parts&... parts) {
  throw Error(kind, concat(parts...));
}

}  // namespace frugal

// A broken promise between two pieces of our own code.
#define FRUGAL_CHECK(condition, ...)                                         \
  do {                                                                       \
    if (!(condition)) {                                                      \
      ::frugal::fail_check(__FILE__, __LINE__, #condition,                   \
                           ::frugal::concat("" __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                                        \
  } while (false)
