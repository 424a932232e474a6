// File operations that fail or stop where a test says, and a disk that may forget what was not
// synced.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "trainer/checkpoint/file_ops.h"

namespace frugal::test {

// The machine stopped: thrown by the operation and by every later one.
struct Stopped {};

enum class Loss {
  kNone,      // the process was killed: all that was written stays
  kUnsynced,  // power failed: data, names and renames that were not synced are gone
  kTornData,  // power failed: names stay, but of data that was not synced only a part
};

// Thread-safe: one for all ranks is one machine; one for each rank fails alone.
class FaultyFiles : public FileOps {
 public:
  // The operation with this number (from 0) returns -error; with `on`, all later ones that need
  // space or a working disk too (removing still works).
  void fail_at(int number, int error, bool on = false);
  void stop_at(int number) { stop_at_ = number; }
  // Only operations of these kinds count; empty: all.
  void count_only(std::set<std::string> kinds) { kinds_ = std::move(kinds); }
  int operations() const { return count_; }
  // Makes the disk what it may be after a stop.
  void lose(Loss loss);

  int create(const std::string& path) override;
  ssize_t write(int descriptor, std::span<const std::byte> bytes) override;
  int sync(int descriptor) override;
  int close(int descriptor) override;
  int sync_directory(const std::string& path) override;
  int rename(const std::string& from, const std::string& to) override;
  int remove_file(const std::string& path) override;
  int make_directory(const std::string& path) override;
  int remove_directory(const std::string& path) override;

 private:
  struct Rename {
    std::string from, to;
  };
  int before(const std::string& kind);

  std::mutex mutex_;
  std::set<std::string> kinds_;
  int count_ = 0, fail_at_ = -1, error_ = 0, stop_at_ = -1;
  bool on_ = false, stopped_ = false;
  std::map<int, std::string> open_;
  std::set<std::string> unsynced_data_, unsynced_names_, unsynced_folders_;
  std::vector<Rename> unsynced_renames_;
};

}  // namespace frugal::test
