#include "trainer/engine/executor.h"

#include "kernels/ops/elementwise.h"

namespace frugal {
namespace {

bool is_transfer(ActionKind kind) {
  return kind == ActionKind::kSendActivation || kind == ActionKind::kRecvActivation ||
         kind == ActionKind::kSendGradient || kind == ActionKind::kRecvGradient;
}

// Makes stream wait for an event that may not exist (nothing was transferred), and forgets it.
template <class Map>
void wait_and_forget(Stream& stream, Map& events, typename Map::key_type key) {
  const auto found = events.find(key);
  if (found == events.end()) return;
  stream.wait(found->second);
  events.erase(found);
}

}  // namespace

PipelineExecutor::PipelineExecutor(const Schedule& schedule, std::vector<Stage*> stages,
                                   RankResources resources)
    : schedule_(schedule), stages_(std::move(stages)), res_(resources) {}

bool PipelineExecutor::is_local(int index) const {
  return index >= 0 && index < schedule_.stages &&
         stages_[static_cast<std::size_t>(index)] != nullptr;
}

Stage& PipelineExecutor::stage_at(int index) {
  FRUGAL_CHECK(is_local(index), "stage ", index, " is not on this rank");
  return *stages_[static_cast<std::size_t>(index)];
}

LayerContext PipelineExecutor::context(int microbatch) {
  return {.compute = res_.compute,
          .scratch = res_.scratch,
          .tensor_group = res_.mesh.group(Axis::kTensor),
          .params = res_.params,
          .microbatch = microbatches_[static_cast<std::size_t>(microbatch)],
          .training = reducer_ != nullptr,
          .tf32 = res_.tf32};
}

void PipelineExecutor::run(std::span<const Microbatch> microbatches, GradReducer* reducer) {
  microbatches_ = microbatches;
  reducer_ = reducer;
  const auto& program =
      schedule_.program[static_cast<std::size_t>(res_.mesh.coordinate(Axis::kPipeline))];
  for (std::size_t i = 0; i < program.size();) {
    std::size_t end = i;
    while (end < program.size() && is_transfer(program[end].kind)) ++end;
    if (end > i) {
      transfer(std::span(program).subspan(i, end - i));
      i = end;
    } else {
      compute(program[i++]);
    }
  }
  // What was sent last must have left before its memory and these micro-batches are used again.
  for (const auto* events : {&sent_activation_, &sent_gradient_}) {
    for (const auto& [key, event] : *events) res_.compute.wait(event);
  }
  sent_activation_.clear();
  sent_gradient_.clear();
}

void PipelineExecutor::transfer(std::span<const Action> group) {
  std::vector<PeerTransfer> transfers;
  for (const Action& action : group) transfers.push_back(prepare(action));
  res_.mesh.group(Axis::kPipeline).exchange(transfers, res_.pipeline);
  Event done;
  res_.pipeline.record(done);
  for (const Action& action : group) {
    const Key key{action.stage, action.microbatch};
    if (reducer_ == nullptr && action.kind == ActionKind::kSendActivation) {
      // Evaluation has no backward that would free the slots.
      res_.compute.wait(done);
      stage_at(action.stage).end_forward(res_.compute, action.microbatch);
      continue;
    }
    switch (action.kind) {
      case ActionKind::kSendActivation:
        sent_activation_[key] = done;
        break;
      case ActionKind::kRecvActivation:
        arrived_activation_[key] = done;
        break;
      case ActionKind::kSendGradient:
        sent_gradient_[key] = done;
        break;
      default:
        arrived_gradient_[key] = done;
        break;
    }
  }
}

PeerTransfer PipelineExecutor::prepare(const Action& action) {
  Stage& stage = stage_at(action.stage);
  const Key key{action.stage, action.microbatch};
  const auto rank_of = [&](int s) { return schedule_.rank_of_stage[static_cast<std::size_t>(s)]; };
  switch (action.kind) {
    case ActionKind::kSendActivation:
      wait_and_forget(res_.pipeline, output_ready_, key);
      return {PeerTransfer::Kind::kSend, stage.output(action.microbatch),
              rank_of(action.stage + 1)};
    case ActionKind::kRecvActivation:
      res_.pipeline.wait(stage.begin_forward(action.microbatch));
      return {PeerTransfer::Kind::kRecv, stage.input(action.microbatch), rank_of(action.stage - 1)};
    case ActionKind::kSendGradient:
      wait_and_forget(res_.pipeline, gradient_ready_, key);
      return {PeerTransfer::Kind::kSend, stage.input_gradient(action.microbatch),
              rank_of(action.stage - 1)};
    default:
      res_.pipeline.wait(stage.begin_backward(action.microbatch));
      return {PeerTransfer::Kind::kRecv, stage.output_gradient(action.microbatch),
              rank_of(action.stage + 1)};
  }
}

void PipelineExecutor::compute(const Action& action) {
  switch (action.kind) {
    case ActionKind::kForward:
      return forward(stage_at(action.stage), action);
    case ActionKind::kBackwardInput:
      return backward_input(stage_at(action.stage), action);
    case ActionKind::kBackwardWeight:
      return backward_weight(stage_at(action.stage), action);
    case ActionKind::kReduceGrads:
      return;  // the reducer has started each bucket as it became complete
    default:
      FRUGAL_CHECK(false, "the executor cannot run action kind ", static_cast<int>(action.kind));
  }
}

void PipelineExecutor::forward(Stage& stage, const Action& action) {
  const int microbatch = action.microbatch;
  const Key key{action.stage, microbatch};
  if (arrived_activation_.contains(key)) {
    wait_and_forget(res_.compute, arrived_activation_, key);
  } else {
    res_.compute.wait(stage.begin_forward(microbatch));
    if (is_local(action.stage - 1)) {
      Stage& before = stage_at(action.stage - 1);
      ops::cast(res_.compute, stage.input(microbatch), before.output(microbatch));
      if (reducer_ == nullptr) before.end_forward(res_.compute, microbatch);
    }
  }
  LayerContext ctx = context(microbatch);
  stage.forward(ctx, microbatch);
  if (action.stage + 1 < schedule_.stages && !is_local(action.stage + 1)) {
    res_.compute.record(output_ready_[key]);
  }
  if (reducer_ != nullptr) return;
  if (action.stage + 1 == schedule_.stages) stage.end_forward(res_.compute, microbatch);
}

void PipelineExecutor::backward_input(Stage& stage, const Action& action) {
  const int microbatch = action.microbatch;
  const Key key{action.stage, microbatch};
  if (arrived_gradient_.contains(key)) {
    wait_and_forget(res_.compute, arrived_gradient_, key);
  } else {
    // The head begins by itself; a stage before a local one was begun when that handed its gradient
    // over.
    if (action.stage + 1 == schedule_.stages) res_.compute.wait(stage.begin_backward(microbatch));
  }
  // The output's slot ends here; the gradient came back, so the output has long been sent.
  wait_and_forget(res_.compute, sent_activation_, key);
  LayerContext ctx = context(microbatch);
  stage.backward_input(ctx, microbatch);
  if (is_local(action.stage - 1)) {
    Stage& before = stage_at(action.stage - 1);
    res_.compute.wait(before.begin_backward(microbatch));
    ops::cast(res_.compute, before.output_gradient(microbatch), stage.input_gradient(microbatch));
  } else if (action.stage > 0) {
    res_.compute.record(gradient_ready_[key]);
  }
  report(stage, microbatch, true);
}

void PipelineExecutor::backward_weight(Stage& stage, const Action& action) {
  LayerContext ctx = context(action.microbatch);
  stage.backward_weight(ctx, action.microbatch);
  // The gradient for the stage before lies in the slot that ends here.
  wait_and_forget(res_.compute, sent_gradient_, {action.stage, action.microbatch});
  stage.end_backward(res_.compute, action.microbatch);
  report(stage, action.microbatch, false);
}

// Layers in the order in which backward finished them.
void PipelineExecutor::report(const Stage& stage, int microbatch, bool fused) {
  for (std::size_t i = stage.layer_count(); i-- > 0;) {
    if (stage.layer(i).fuses_backward() != fused) continue;
    reducer_->accumulated(stage.params_of(i), microbatch, res_.compute, res_.reduce);
  }
}

}  // namespace frugal
