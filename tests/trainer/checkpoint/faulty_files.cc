#include "tests/trainer/checkpoint/faulty_files.h"

#include <filesystem>
#include <system_error>

namespace frugal::test {
namespace {

namespace fs = std::filesystem;

std::string parent_of(const std::string& path) {
  return fs::path(path).parent_path().string();
}

// Names below a renamed folder move with it.
void move_names(std::set<std::string>& names, const std::string& from, const std::string& to) {
  std::set<std::string> moved;
  for (const std::string& name : names) {
    const bool below = name.starts_with(from + "/");
    moved.insert(below ? to + name.substr(from.size()) : name);
  }
  names = std::move(moved);
}

}  // namespace

void FaultyFiles::fail_at(int number, int error, bool on) {
  fail_at_ = number;
  error_ = error;
  on_ = on;
}

int FaultyFiles::before(const std::string& kind) {
  if (stopped_) throw Stopped{};
  if (!kinds_.empty() && !kinds_.contains(kind)) return 0;
  const int number = count_++;
  if (number == stop_at_) {
    stopped_ = true;
    throw Stopped{};
  }
  const bool later = on_ && fail_at_ >= 0 && number > fail_at_ && kind != "remove";
  return number == fail_at_ || later ? -error_ : 0;
}

int FaultyFiles::create(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("create"); error < 0) return error;
  const int descriptor = FileOps::create(path);
  if (descriptor >= 0) {
    open_[descriptor] = path;
    unsynced_names_.insert(path);
    unsynced_data_.insert(path);
  }
  return descriptor;
}

ssize_t FaultyFiles::write(int descriptor, std::span<const std::byte> bytes) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("write"); error < 0) {
    FileOps::write(descriptor, bytes.first(bytes.size() / 2));  // a full disk takes what fits
    return error;
  }
  // Short writes are legal.
  return FileOps::write(descriptor, bytes.first((bytes.size() + 1) / 2));
}

int FaultyFiles::sync(int descriptor) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("sync"); error < 0) return error;
  unsynced_data_.erase(open_[descriptor]);
  return 0;
}

int FaultyFiles::close(int descriptor) {
  const std::lock_guard lock(mutex_);
  const int error = before("close");
  FileOps::close(descriptor);
  return error;
}

int FaultyFiles::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("sync"); error < 0) return error;
  std::erase_if(unsynced_names_, [&](const auto& name) { return parent_of(name) == path; });
  std::erase_if(unsynced_folders_, [&](const auto& name) { return parent_of(name) == path; });
  std::erase_if(unsynced_renames_, [&](const Rename& r) { return parent_of(r.to) == path; });
  return 0;
}

int FaultyFiles::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("rename"); error < 0) return error;
  const int result = FileOps::rename(from, to);
  if (result < 0) return result;
  move_names(unsynced_names_, from, to);
  move_names(unsynced_data_, from, to);
  unsynced_renames_.push_back({from, to});
  return result;
}

int FaultyFiles::remove_file(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("remove"); error < 0) return error;
  unsynced_names_.erase(path);
  unsynced_data_.erase(path);
  return FileOps::remove_file(path);
}

int FaultyFiles::make_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("make"); error < 0) return error;
  const int result = FileOps::make_directory(path);
  if (result >= 0) unsynced_folders_.insert(path);
  return result;
}

int FaultyFiles::remove_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const int error = before("remove"); error < 0) return error;
  return FileOps::remove_directory(path);
}

void FaultyFiles::lose(Loss loss) {
  if (loss == Loss::kNone) return;
  for (const std::string& path : unsynced_data_) {
    std::error_code gone;
    const auto size = fs::file_size(path, gone);
    if (!gone) fs::resize_file(path, loss == Loss::kTornData ? size / 2 : 0);
  }
  if (loss == Loss::kTornData) return;
  for (const std::string& path : unsynced_names_) fs::remove(path);
  for (auto r = unsynced_renames_.rbegin(); r != unsynced_renames_.rend(); ++r) {
    std::error_code gone;  // its folder may have been removed since
    fs::rename(r->to, r->from, gone);
  }
  for (const std::string& path : unsynced_folders_) fs::remove_all(path);
}

}  // namespace frugal::test
