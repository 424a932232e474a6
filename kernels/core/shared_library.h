// Libraries that a machine may lack, opened while the program runs: one binary starts everywhere.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "kernels/core/check.h"

namespace frugal {

// Stays open for the life of the program: its threads and handles outlive any owner.
class SharedLibrary {
 public:
  // The first of the file names that the dynamic linker finds (LD_LIBRARY_PATH, the system's
  // folders); nullptr and why not, as one sentence without a full stop.
  static std::unique_ptr<SharedLibrary> open(std::span<const char* const> names, std::string& why);

  // Function is a library's function's type, e.g. decltype(cublasLtCreate). Throws
  // Error(kPreflight) when the library is too old to have it.
  template <class Function>
  Function* function(const char* symbol) const {
    return reinterpret_cast<Function*>(address(symbol));
  }

  void* handle() const { return handle_; }  // dlopen's

 private:
  SharedLibrary(void* handle, std::string name) : handle_(handle), name_(std::move(name)) {}
  void* address(const char* symbol) const;

  void* handle_;
  std::string name_;
};

}  // namespace frugal
