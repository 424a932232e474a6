#include "comm/nccl_group.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "comm/collective_group.h"
#include "comm/gather_lines.h"
#include "comm/nccl/communicator.h"
#include "comm/staged_group.h"

namespace frugal {
namespace {

// Of a rank: what its groups share.
struct NcclRank {
  NcclLibrary library;
  std::shared_ptr<Watchdog> watchdog;
  Device device;
};

// Rank 0's, on every member. REQUIRES: this rank's GPU is the calling thread's.
std::unique_ptr<Communicator> make_communicator(ProcessGroup& host, const NcclRank& rank) {
  ncclUniqueId id{};
  const bool made = host.rank() != 0 || rank.library.GetUniqueId(&id) == ncclSuccess;
  const std::string complaint = first_complaint(host, made ? "" : "NCCL makes no id");
  if (!complaint.empty()) fail(ErrorKind::kCommunication, complaint);
  const Tensor bytes{
      reinterpret_cast<std::byte*>(id.internal), {sizeof(id.internal)}, DType::kU8, {}};
  host.broadcast(bytes, 0, *make_stream({}, "id"));
  Communicator::Members members{.rank = host.rank(), .world_ranks = {}};
  for (const std::string& line : gather_lines(host, std::to_string(thread_rank()))) {
    members.world_ranks.push_back(std::stoi(line));
  }
  return std::make_unique<Communicator>(rank.library, rank.watchdog, id, std::move(members));
}

class NcclGroup final : public CollectiveGroup {
 public:
  NcclGroup(std::shared_ptr<ProcessGroup> host, std::shared_ptr<const NcclRank> nccl)
      : host_(std::move(host)),
        nccl_(std::move(nccl)),
        communicator_(make_communicator(*host_, *nccl_)) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  void host_barrier() override { host_->host_barrier(); }
  std::unique_ptr<ProcessGroup> split(int color, int key) override {
    std::shared_ptr<ProcessGroup> host = host_->split(color, key);
    if (host == nullptr) return nullptr;
    // One rank has nobody to reach.
    if (host->size() == 1) return make_staged_group(std::move(host), nccl_->device);
    return std::make_unique<NcclGroup>(std::move(host), nccl_);
  }
  void abort(const std::exception_ptr& why) override {
    nccl_->watchdog->fail("this rank has failed", true);
    host_->abort(why);
  }

 protected:
  void require(Device device, const char* what) const override {
    FRUGAL_CHECK(on_host(device) || device == nccl_->device, what, " of another GPU's tensor");
  }
  void transfer(const std::vector<PeerTransfer>& transfers, const char* what,
                Stream& stream) override {
    if (on_host(stream.device())) return host_->exchange(transfers, stream);
    communicator_->enqueue(transfers, what, stream);
  }

 private:
  std::shared_ptr<ProcessGroup> host_;
  std::shared_ptr<const NcclRank> nccl_;
  std::unique_ptr<Communicator> communicator_;
};

// What keeps this rank from trying; "" if nothing does.
std::string complaint(const NcclOptions& options, NcclLibrary& library, std::string& version) {
  // Its communicators would be open to everybody: the id is all that protects them.
  if (std::getenv("NCCL_COMM_ID") != nullptr) return "NCCL_COMM_ID is set";
  try {
    library = load_nccl(options.library);
  } catch (const Error& error) {
    return error.what();
  }
  int number = 0;
  library.GetVersion(&number);
  version = std::to_string(number);
  return "";
}

}  // namespace

std::unique_ptr<ProcessGroup> make_nccl_group(const std::shared_ptr<ProcessGroup>& host,
                                              Device device, const NcclOptions& options,
                                              std::string& reason) {
  NcclRank rank{.library = {}, .watchdog = nullptr, .device = device};
  std::string version;
  reason = first_complaint(*host, complaint(options, rank.library, version));
  if (!reason.empty()) return nullptr;
  const std::string first = gather_lines(*host, version)[0];
  reason = first_complaint(*host,
                           version == first ? "" : concat("NCCL ", version, " instead of ", first));
  if (!reason.empty()) return nullptr;
  rank.watchdog = std::make_shared<Watchdog>(options.timeout);
  const auto stream = make_stream(device, "nccl");  // makes this GPU the thread's
  std::unique_ptr<ProcessGroup> group;
  std::string own;
  try {
    group = std::make_unique<NcclGroup>(host, std::make_shared<NcclRank>(std::move(rank)));
  } catch (const Error& error) {
    own = error.what();
  }
  reason = first_complaint(*host, own);
  return reason.empty() ? std::move(group) : nullptr;
}

}  // namespace frugal
