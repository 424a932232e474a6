// What the user asks of a running process.
#pragma once

namespace frugal {

struct SignalRequests {
  bool stop = false;  // SIGUSR1, SIGTERM, SIGINT: save at the next step boundary and stop
  bool save = false;  // SIGUSR2: save and go on
};

// Catches the signals from now on, for the whole process. A second SIGINT ends it at once. Also
// ignores SIGXFSZ.
void install_signal_handlers();
// What has arrived since the last call; a stop stays. Thread-safe.
SignalRequests take_signal_requests();

}  // namespace frugal
