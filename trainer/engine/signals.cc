#include "trainer/engine/signals.h"

#include <atomic>
#include <csignal>

namespace frugal {
namespace {

std::atomic<bool> stop_requested{false};
std::atomic<bool> save_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void frugal_on_signal(int signal) {
  if (signal == SIGUSR2) {
    save_requested = true;
    return;
  }
  if (signal == SIGINT && stop_requested) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
  stop_requested = true;
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = frugal_on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
    sigaction(signal, &action, nullptr);
  }
  // A file that may not grow further is an error of that write, like a full disk.
  std::signal(SIGXFSZ, SIG_IGN);
}

SignalRequests take_signal_requests() {
  return {.stop = stop_requested, .save = save_requested.exchange(false)};
}

}  // namespace frugal
