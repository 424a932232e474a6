// Any bytes as the model.safetensors of a GPT-2 (whose matrices are transposed) and of a Llama.
#include "trainer/checkpoint/safetensors_file.h"

#include "tests/fuzz/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace frugal;
  static const fuzz::Scratch scratch;
  const std::string path = scratch.write("model.safetensors", data, size);
  for (const std::string family : {"gpt2", "llama"}) {
    const std::string config = R"({"model_type":")" + family + "\"}";
    scratch.write("config.json", config.data(), config.size());
    fuzz::only_data_errors([&] { fuzz::read_all(*ForeignWeights::open(scratch.path())); });
  }
  fuzz::only_data_errors([&] {
    std::int64_t bytes = 0;
    for (const ForeignTensor& tensor : read_safetensors(StoredFile(path), path)) {
      bytes += tensor.bytes;
    }
    if (bytes > static_cast<std::int64_t>(size)) std::abort();
  });
  return 0;
}
