// Any bytes as a GGUF file: the metadata of a model and its tokenizer, and all tensors.
#include "trainer/checkpoint/gguf_file.h"

#include "tests/fuzz/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace frugal;
  static const fuzz::Scratch scratch;
  const std::string path = scratch.write("model.gguf", data, size);
  fuzz::only_data_errors([&] {
    for (const ForeignTensor& tensor : read_gguf(StoredFile(path), path).tensors) {
      if (tensor.position + tensor.bytes > static_cast<std::int64_t>(size)) std::abort();
    }
  });
  fuzz::only_data_errors([&] { fuzz::read_all(*ForeignWeights::open(path)); });
  return 0;
}
