// Every change of the file system that a checkpoint makes, so that tests can fail or stop at each.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace frugal {

// The disk. Functions return a negative errno on failure, else zero or what they say. Thread-safe;
// a failed sync is final: nobody may call it again and believe a success.
class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual int create(const std::string& path);  // descriptor of a new file; -EEXIST if there is one
  virtual ssize_t write(int descriptor, std::span<const std::byte> bytes);  // bytes written
  virtual int sync(int descriptor);
  virtual int close(int descriptor);
  virtual int sync_directory(const std::string& path);
  virtual int rename(const std::string& from, const std::string& to);
  virtual int remove_file(const std::string& path);
  virtual int make_directory(const std::string& path);
  virtual int remove_directory(const std::string& path);
};

FileOps& disk_files();

// Throws Error: "path: cannot <what>: <reason>; <what to do>". kData where the storage or its
// content is at fault; kPreflight where this process may not or cannot look (permissions,
// descriptors).
[[noreturn]] void fail_system(const std::string& path, std::string_view what, int error_number);

// Throws through fail_system when result is negative.
void check_system(int result, const std::string& path, std::string_view what);

// A file that this process creates and writes from begin to end. Throws Error(kData).
class NewFile {
 public:
  NewFile(FileOps& files, std::string path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  void append(std::span<const std::byte> bytes);
  // Content is on the disk when it returns; the name is after sync_directory.
  void finish();

 private:
  FileOps& files_;
  std::string path_;
  int descriptor_;
};

// mkdir -p; new names are synced.
void make_directories(FileOps& files, const std::string& path);

// Removes a folder that holds only files. Returns what went wrong, or nothing.
std::string remove_folder(FileOps& files, const std::string& path);

// Whether the name of a file may be a symbolic link. What it leads to is a regular file either way.
enum class Links { kRefused, kFollowed };

// A file that is read at positions. Thread-safe.
class StoredFile {
 public:
  explicit StoredFile(std::string path, Links links = Links::kRefused);
  ~StoredFile();
  StoredFile(const StoredFile&) = delete;
  StoredFile& operator=(const StoredFile&) = delete;
  std::int64_t size() const { return size_; }
  // Throws Error(kData) where the file ends before.
  void read(std::int64_t position, std::span<std::byte> out) const;

 private:
  std::string path_;
  int descriptor_;
  std::int64_t size_ = 0;
};

}  // namespace frugal
