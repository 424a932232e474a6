// A file that only grows.
#pragma once

#include <string>
#include <string_view>

namespace frugal {

// Appends bytes, and outlives a full disk: what the system refuses waits in memory and goes out
// before what comes next. Used by one thread.
class AppendedFile {
 public:
  // Throws Error(kData) where the file cannot be opened.
  explicit AppendedFile(std::string path);
  // Tries once more; what is refused then is lost.
  ~AppendedFile();
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;

  // Handed to the system when the call returns, unless problem() says why not.
  void append(std::string_view bytes);
  // "path: cannot write: No space left on device"; empty: nothing waits.
  const std::string& problem() const { return problem_; }
  const std::string& path() const { return path_; }

 private:
  void write_waiting();

  std::string path_, waiting_, problem_;
  int file_;
};

}  // namespace frugal
