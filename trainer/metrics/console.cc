// The console line: human units in a stable order, so that `key value` pairs can be read and
// grepped.
#include <cmath>
#include <cstdlib>

#include "fmt/format.h"
#include "trainer/metrics/metrics.h"

namespace frugal {
namespace {

// 950, 41.2k, 1.23M
std::string count_text(double value) {
  if (!(value >= 999.5)) return fmt::format("{:.0f}", value);
  if (value < 999.95e3) return fmt::format("{:.1f}k", value / 1e3);
  return fmt::format("{:.2f}M", value / 1e6);
}

// 3.0e-4: two digits of an exponent that needs one say nothing.
std::string rate_text(float value) {
  if (!(std::abs(value) > 0) || !std::isfinite(value)) return fmt::format("{:.0f}", value);
  const std::string text = fmt::format("{:.1e}", value);
  const std::size_t e = text.find('e');
  return fmt::format("{}e{}", text.substr(0, e), std::atoi(text.c_str() + e + 1));
}

// 950 ms, 1.59 s, 120 s
std::string seconds_text(double seconds) {
  if (seconds < 0.9995) return fmt::format("{:.3g} ms", seconds * 1e3);
  if (seconds < 99.995) return fmt::format("{:.2f} s", seconds);
  return fmt::format("{:.0f} s", seconds);
}

// 42s, 49m, 2h13m, 3d4h
std::string duration_text(double seconds) {
  if (!(seconds >= 0) || seconds > 1e9) return "?";
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  if (s < 60) return fmt::format("{}s", s);
  const std::int64_t minutes = (s + 30) / 60;
  if (minutes < 60) return fmt::format("{}m", minutes);
  const std::int64_t hours = minutes / 60;
  if (hours < 24) return fmt::format("{}h{:02d}m", hours, minutes % 60);
  return fmt::format("{}d{}h", hours / 24, hours % 24);
}

std::string percent_text(double share) {
  const double percent = share * 100;
  return percent < 9.95 ? fmt::format("{:.1f}%", percent) : fmt::format("{:.0f}%", percent);
}

}  // namespace

std::string console_line(const StepMetrics& m, std::int64_t total_steps) {
  constexpr double kGib = 1024.0 * 1024.0 * 1024.0;
  const auto percent = total_steps > 0 ? m.step * 100 / total_steps : 100;
  const auto remaining = static_cast<double>(total_steps - m.step) * m.step_time_s;
  return fmt::format(
      "step {}/{} ({}%) | loss {:.3f} | grad {:.3g} | lr {} | {} tok/s | mfu {} | mem "
      "{:.1f}/{:.0f} "
      "GiB | {} | eta {}{}",
      m.step, total_steps, percent, m.loss, m.grad_norm, rate_text(m.learning_rate),
      count_text(m.tokens_per_second), percent_text(m.mfu),
      static_cast<double>(m.peak_bytes) / kGib, static_cast<double>(m.total_bytes) / kGib,
      seconds_text(m.step_time_s), duration_text(remaining),
      m.skipped ? " | update skipped: gradient not finite" : "");
}

}  // namespace frugal
