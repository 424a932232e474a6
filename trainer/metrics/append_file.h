// A file that only grows, by whole records.
#pragma once

#include <string>
#include <string_view>

namespace frugal {

// Appends records; each is handed to the system when append returns. A record that does not fit on
// the disk leaves nothing of itself, so that later ones still follow whole ones. One thread.
class AppendFile {
 public:
  explicit AppendFile(std::string path);  // creates it; throws Error(kData) with the reason
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  // Throws Error(kData) with the system's reason.
  void append(std::string_view record);
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  int file_;
};

}  // namespace frugal
