// Run a refiner that was exported with --compiled, from C++. It needs libtorch and nothing else.
//
//     load model.pt2 inputs.pt answers.pt
//
// inputs.pt is a list of tensors, written by torch.save, in the order of the file's description.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/serialization/pickle.h>

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: load model.pt2 inputs.pt answers.pt\n";
    return 2;
  }
  setenv("AOTI_RUNTIME_CHECK_INPUTS", "1", 0);  // else inputs of other sizes are read out of bounds
  c10::InferenceMode guard;
  torch::inductor::AOTIModelPackageLoader program(words[1]);
  std::cout << program.get_metadata().at("neuralop_irno.json") << "\n";

  std::ifstream file(words[2], std::ios::binary);
  if (!file) {
    std::cerr << "expected a file of inputs, got " << words[2] << "\n";
    return 2;
  }
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  const c10::IValue given = torch::jit::pickle_load(content);
  std::vector<at::Tensor> inputs;
  for (const auto& one : given.toListRef()) inputs.push_back(one.toTensor());

  // The refined field; for each sample the norm of its last update, its outcome and its steps.
  const std::vector<at::Tensor> answers = program.run(inputs);
  std::cout << "steps " << answers[3] << "\n";

  // A tuple, for torch.load reads lists of C++ only with weights_only=False.
  const auto written = torch::jit::pickle_save(
      c10::ivalue::Tuple::create(std::vector<c10::IValue>(answers.begin(), answers.end())));
  std::ofstream(words[3], std::ios::binary).write(written.data(), written.size());
}
