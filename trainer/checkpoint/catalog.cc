// Which checkpoints a root holds, which of them is good, and which may go.
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

#include "kernels/core/check.h"
#include "trainer/checkpoint/agreement.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/folders.h"
#include "trainer/checkpoint/format.h"

namespace frugal {
namespace {

constexpr std::string_view kDamagedPrefix = "damaged-";

bool committed(const std::string& path, std::int64_t step) {
  try {
    return read_commit(path).step == step;
  } catch (const Error&) {
    return false;
  }
}

std::vector<CheckpointFolder> committed_folders(const std::string& root) {
  std::vector<CheckpointFolder> folders = checkpoint_folders(root);
  std::erase_if(folders, [&](const CheckpointFolder& folder) {
    return !committed(root + "/" + folder.name, folder.step);
  });
  return folders;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

// Throws Error where this rank's share of the checkpoint is not what was written.
void check_share(const std::string& path, const CheckpointFolder& folder,
                 const ProcessGroup& world) {
  const CheckpointReader reader(path);
  if (reader.info().step != folder.step) {
    fail(ErrorKind::kData, path, ": holds step ", reader.info().step,
         "; give the folder the name it was written under");
  }
  reader.verify(world.rank(), world.size());
}

// Renames damaged folders; one that cannot be renamed is found damaged again.
void put_aside(const std::string& root, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::string aside = concat(root, "/", kDamagedPrefix, name);
    std::string to = aside;
    for (int n = 2; disk_files().rename(root + "/" + name, to) == -ENOTEMPTY; ++n) {
      to = concat(aside, "-", n);
    }
  }
  if (!names.empty()) disk_files().sync_directory(root);
}

}  // namespace

std::vector<std::string> list_checkpoints(const std::string& root) {
  std::vector<std::string> paths;
  for (const CheckpointFolder& folder : committed_folders(root)) {
    paths.push_back(root + "/" + folder.name);
  }
  return paths;
}

std::optional<std::string> find_usable_checkpoint(
    const std::string& root, ProcessGroup& world,
    const std::function<void(std::string_view)>& say) {
  std::string names;  // rank 0 looks, so that all see the same
  auto failure = run_agreed(world, [&] {
    if (world.rank() != 0) return;
    for (const auto& folder : checkpoint_folders(root)) names += folder.name + "\n";
    for (const auto& name : names_with_prefix(root, std::string(kDamagedPrefix))) {
      names += name + "\n";
    }
  });
  if (failure) throw Error(failure->kind, failure->message);
  const std::vector<std::string> candidates = lines_of(broadcast_text(world, names));
  std::vector<std::string> damaged;
  for (const std::string& name : candidates) {
    const auto folder = parse_folder_name(name);
    if (!folder) continue;  // put aside before
    const std::string path = root + "/" + name;
    failure = run_agreed(world, [&] { check_share(path, *folder, world); });
    if (!failure) {
      if (world.rank() == 0) put_aside(root, damaged);
      world.host_barrier();
      return path;
    }
    if (failure->kind != ErrorKind::kData) throw Error(failure->kind, failure->message);
    if (world.rank() == 0) say(concat("checkpoint ", name, " is damaged: ", failure->message));
    damaged.push_back(name);
  }
  if (candidates.empty()) return std::nullopt;
  // A rank that throws ends its peers' calls: rank 0 must have said its last line.
  world.host_barrier();
  fail(ErrorKind::kData, root, ": none of its ", candidates.size(),
       " checkpoints is usable; bring back a copy, or start over with checkpoint.resume=never");
}

int put_checkpoints_aside(const std::string& root, std::int64_t step, const std::string& aside) {
  int moved = 0;
  for (const CheckpointFolder& folder : committed_folders(root)) {
    if (folder.step <= step) continue;
    std::error_code failed;
    std::filesystem::create_directories(aside, failed);
    const std::string from = root + "/" + folder.name;
    if (!failed) std::filesystem::rename(from, aside + "/" + folder.name, failed);
    if (failed)
      fail(ErrorKind::kData, from, ": cannot be moved to ", aside, ": ", failed.message());
    ++moved;
  }
  if (moved > 0) disk_files().sync_directory(root);
  return moved;
}

std::string remove_old_checkpoints(const std::string& root, int keep_last, int keep_every,
                                   FileOps* files) {
  FileOps& ops = files == nullptr ? disk_files() : *files;
  std::string problem = remove_leftovers(ops, root);
  std::vector<std::string> removed;
  int kept = 0;
  std::int64_t last_step = -1;
  for (const CheckpointFolder& folder : committed_folders(root)) {
    const bool superseded = folder.step == last_step;
    last_step = folder.step;
    if (!superseded && kept < std::max(keep_last, 1)) {
      ++kept;
      continue;
    }
    if (!superseded && keep_every > 0 && folder.step % keep_every == 0) continue;
    // Under another name first, and durably: a half removed folder must not pass for a checkpoint.
    const std::string aside = root + "/removing-" + folder.name;
    int result = ops.rename(root + "/" + folder.name, aside);
    if (result >= 0) result = ops.sync_directory(root);
    if (result >= 0) {
      removed.push_back(aside);
    } else if (problem.empty()) {
      problem = concat(root, "/", folder.name,
                       ": cannot remove: ", std::generic_category().message(-result));
    }
  }
  for (const std::string& path : removed) {
    const std::string why = remove_folder(ops, path);
    if (problem.empty()) problem = why;
  }
  return problem;
}

}  // namespace frugal
