// Spellings of Megatron-LM, torchtitan, nanotron, DeepSpeed, Axolotl, LLaMA-Factory, Hugging Face
// Transformers, nanoGPT and llm.c.
#include "trainer/config/foreign_names.h"

#include <algorithm>
#include <array>
#include <string>

namespace frugal::config {
namespace {

struct Group {
  std::string_view hint;
  std::string_view names;  // between spaces
};

constexpr std::array<Group, 75> kGroups{{
    {"did you mean 'run.name'?", " run_name experiment_name exp_name job_name wandb_run_name "},
    {"did you mean 'run.dir'?",
     " output_dir out_dir save_dir dump_folder checkpoint_dir checkpoints_path save "},
    {"did you mean 'seed'?", " random_seed data_seed rng_seed "},
    {"did you mean 'device'?", " accelerator use_cuda no_cuda device_type "},
    {"did you mean 'model.model_type'?", " architecture arch family model_name "},
    {"did you mean 'model.hidden_size'?",
     " d_model dim n_embd embedding_size embed_dim model_dim emb_dim "},
    {"did you mean 'model.intermediate_size'?",
     " ffn_hidden_size n_inner d_ff ffn_dim mlp_dim hidden_dim ffn_size "},
    {"did you mean 'model.num_hidden_layers'?", " num_layers n_layer n_layers depth layers "},
    {"did you mean 'model.num_attention_heads'?", " n_head n_heads num_heads heads "},
    {"did you mean 'model.num_key_value_heads'?",
     " num_query_groups n_kv_head n_kv_heads num_kv_heads "},
    {"did you mean 'model.head_dim'?", " kv_channels d_head head_size "},
    {"did you mean 'model.max_position_embeddings'?",
     " n_positions n_ctx max_position max_positions "},
    {"did you mean 'model.rope_theta'?", " rotary_base rope_base rope_freq_base rotary_theta "},
    {"did you mean 'model.rms_norm_eps'?",
     " norm_eps norm_epsilon layer_norm_epsilon layernorm_epsilon layer_norm_eps rms_eps "},
    {"did you mean 'model.initializer_range'?", " init_method_std init_std "},
    {"did you mean 'model.tie_word_embeddings'?",
     " tie_embeddings tied_embeddings weight_tying tie_weights"
     " untie_embeddings_and_output_weights "},
    {"did you mean 'model.attention_bias'?", " qkv_bias add_qkv_bias "},
    {"did you mean 'model.mlp_bias'?", " add_bias_linear "},
    {"did you mean 'model.vocab_size'?", " padded_vocab_size n_vocab vocabulary_size "},
    {"did you mean 'tokenizer.path'?",
     " tokenizer_path tokenizer_name tokenizer_name_or_path tokenizer_model vocab_file"
     " merge_file "},
    {"did you mean 'data.train'?",
     " datasets dataset data_path train_data_path train_data train_files dataset_folder"
     " train_bin "},
    {"did you mean 'data.validation'?",
     " valid_data_path val_data eval_dataset test_datasets validation_data valid val"
     " val_set_size "},
    {"did you mean 'data.sequence_length'?",
     " seq_length seq_len sequence_len max_seq_length max_seq_len max_context_length"
     " context_length cutoff_len block_size "},
    {"did you mean 'data.document_mask'?",
     " reset_attention_mask varlen document_attention sample_packing "},
    {"did you mean 'batch.micro_batch_size'?",
     " per_device_train_batch_size train_micro_batch_size_per_gpu local_batch_size"
     " device_batch_size micro_batch microbatch_size batch_size "},
    {"did you mean 'batch.global_batch_size'?",
     " train_batch_size total_batch_size global_batch effective_batch_size "},
    {"did you mean 'parallelism.tensor'?",
     " tensor_model_parallel_size tensor_parallel_size tensor_parallel_degree"
     " tensor_parallel tp tp_size "},
    {"did you mean 'parallelism.pipeline'?",
     " pipeline_model_parallel_size pipeline_parallel_size pipeline_parallel_degree"
     " pipeline_parallel pp pp_size "},
    {"did you mean 'parallelism.context'?",
     " context_parallel_size context_parallel_degree cp cp_size sequence_parallel_degree "},
    {"did you mean 'parallelism.expert'?",
     " expert_model_parallel_size expert_parallel_size expert_parallel_degree ep ep_size"
     " expert_parallel "},
    {"did you mean 'parallelism.data'?",
     " dp dp_size data_parallel data_parallel_size data_parallel_shard_degree"
     " data_parallel_replicate_degree dp_shard_size dp_replicate_size "},
    {"did you mean 'parallelism.schedule'?",
     " pipeline_schedule pipeline_parallel_schedule pp_schedule pp_engine pipeline_stage "},
    {"did you mean 'parallelism.stages_per_rank'?",
     " num_layers_per_virtual_pipeline_stage virtual_pipeline_model_parallel_size"
     " num_virtual_stages_per_pipeline_rank virtual_stages "},
    {"did you mean 'parallelism.stage_layers'?",
     " pipeline_model_parallel_layout module_fqns_per_model_part"
     " decoder_first_pipeline_num_layers "},
    {"did you mean 'parallelism.zero_stage'?",
     " zero_optimization use_distributed_optimizer deepspeed zero "},
    {"did you mean 'precision.compute'?",
     " bf16 fp16 fp32 bfloat16 float16 torch_dtype dtype mixed_precision"
     " mixed_precision_param precision compute_dtype "},
    {"did you mean 'precision.master'?",
     " master_weights use_master_weights fp32_master_weights main_params_dtype "},
    {"did you mean 'precision.optimizer_state'?",
     " exp_avg_dtype exp_avg_sq_dtype optimizer_dtype optim_dtype state_dtype"
     " use_precision_aware_optimizer opt_m_dtype opt_v_dtype "},
    {"did you mean 'precision.initial_loss_scale'?",
     " loss_scale init_scale initial_scale initial_scale_power init_loss_scale"
     " dynamic_loss_scale "},
    {"did you mean 'precision.loss_scale_window'?",
     " scale_window growth_interval scale_growth_interval loss_scale_interval "},
    {"did you mean 'memory.recompute'?",
     " gradient_checkpointing activation_checkpointing activation_checkpoint"
     " recompute_activations recompute_granularity recompute_layer selective_checkpointing"
     " checkpoint_activations "},
    {"did you mean 'optimizer.name'?", " optim optimizer_type optimizer_name "},
    {"did you mean 'optimizer.learning_rate'?", " lr max_lr peak_lr base_lr lr_max "},
    {"did you mean 'optimizer.beta1'?", " adam_beta1 b1 "},
    {"did you mean 'optimizer.beta2'?", " adam_beta2 b2 "},
    {"did you mean 'optimizer.eps'?", " adam_eps adam_epsilon epsilon "},
    {"did you mean 'optimizer.weight_decay'?", " wd l2 "},
    {"did you mean 'optimizer.grad_clip'?",
     " max_grad_norm clip_grad clip_grad_norm gradient_clipping gradient_clip_val max_norm"
     " grad_norm_clip "},
    {"did you mean 'scheduler.name'?",
     " lr_scheduler lr_scheduler_type lr_decay_style lr_schedule scheduler_type "},
    {"did you mean 'scheduler.warmup_steps'?",
     " lr_warmup_iters lr_warmup_steps warmup_iters warmup num_warmup_steps warmup_ratio"
     " lr_warmup_fraction "},
    {"did you mean 'scheduler.decay_steps'?",
     " lr_decay_iters lr_decay_steps lr_wsd_decay_iters cooldown_steps warmdown_iters"
     " decay_iters "},
    {"did you mean 'scheduler.min_lr'?",
     " min_decay_lr lr_min min_learning_rate cosine_min_lr_ratio min_lr_ratio final_lr"
     " final_lr_frac "},
    {"did you mean 'train.steps'?",
     " max_steps train_iters train_steps num_iterations max_iters num_steps total_steps"
     " iterations num_train_steps "},
    {"did you mean 'train.determinism'?", " deterministic deterministic_mode "},
    {"did you mean 'train.threads'?", " num_threads omp_num_threads threads_per_rank "},
    {"did you mean 'checkpoint.interval'?",
     " save_steps save_interval checkpoint_interval save_every save_freq "},
    {"did you mean 'checkpoint.keep_last'?", " save_total_limit keep_latest_k most_recent_k keep "},
    {"did you mean 'checkpoint.keep_every'?", " save_retain_interval "},
    {"did you mean 'checkpoint.resume'?",
     " resume_from_checkpoint resume_from resume_checkpoint_path load_step resume_path "},
    {"did you mean 'eval.interval'?",
     " eval_steps eval_interval eval_every val_check_interval eval_freq val_interval "},
    {"did you mean 'eval.batches'?", " eval_iters val_batches eval_batches limit_val_batches "},
    {"did you mean 'sample.prompts'?", " prompt sample_prompts "},
    {"did you mean 'sample.interval'?",
     " sample_every generate_samples sample_interval generate_interval "},
    {"did you mean 'sample.max_new_tokens'?",
     " generation_max_new_tokens max_tokens max_length max_gen_len "},
    {"did you mean 'logging.interval'?",
     " logging_steps log_interval log_freq steps_per_print iteration_step_info_interval"
     " log_every "},
    {"did you mean 'logging.tensorboard'?",
     " use_tensorboard enable_tensorboard report_to tensorboard_dir "},
    {"it follows from batch.global_batch_size, batch.micro_batch_size and the data-parallel size",
     " gradient_accumulation_steps batch_accumulation_per_replica grad_accum_steps"
     " accumulate_grad_batches accumulation_steps "},
    {"the length of a run is train.steps updates",
     " num_epochs num_train_epochs epochs train_samples train_tokens "},
    {"tokens are always divided among tensor-parallel ranks; remove the key",
     " sequence_parallel enable_sequence_parallel tp_mode sequence "},
    {"the vocabulary is padded inside; remove the key",
     " make_vocab_size_divisible_by pad_vocab_size_multiple "},
    {"batches are read ahead without workers; remove the key",
     " num_workers dataloader_num_workers "},
    {"training has no dropout; remove the key",
     " dropout hidden_dropout attention_dropout attn_dropout "},
    {"attention is always computed in blocks; remove the key",
     " flash_attention use_flash_attn attn_implementation flash_attn "},
    {"the number of ranks is given to mpirun -np or to --ranks",
     " world_size num_gpus n_gpus nproc_per_node num_processes num_ranks "},
    {"gradients, master weights and optimizer state are float32; remove the key",
     " accumulate_grad_in_fp32 grad_reduce_in_bf16 master_dtype "},
}};

}  // namespace

std::string_view foreign_hint(std::string_view name) {
  std::string padded = " " + std::string(name) + " ";
  std::ranges::transform(padded, padded.begin(), [](char c) {
    if (c >= 'A' && c <= 'Z') return static_cast<char>(c - 'A' + 'a');
    return c == '-' ? '_' : c;
  });
  if (std::ranges::count(padded, ' ') != 2) return {};
  const auto found = std::ranges::find_if(kGroups, [&](const Group& group) {
    return group.names.find(padded) != std::string_view::npos;
  });
  return found == kGroups.end() ? std::string_view{} : found->hint;
}

}  // namespace frugal::config
