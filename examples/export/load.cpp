// Run a refiner that was exported with --compiled, from C++. It needs libtorch and nothing else.
//
//     load model.pt2 inputs.pt answers.pt
//
// inputs.pt is a list of tensors, written by torch.save, in the order of the file's description.

#include <fstream>
#include <iostream>
#include <iterator>
#include <vector>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

int main(int count, char** words) {
  if (count != 4) {
    std::cerr << "usage: load model.pt2 inputs.pt answers.pt\n";
    return 2;
  }
  torch::InferenceMode guard;
  torch::inductor::AOTIModelPackageLoader program(words[1]);
  std::cout << program.get_metadata().at("neuralop_irno.json") << "\n";

  std::ifstream file(words[2], std::ios::binary);
  const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
  const auto inputs = torch::pickle_load(content).toTensorVector();

  // The refined field; for each sample the norm of its last update, its outcome and its steps.
  const std::vector<at::Tensor> answers = program.run(inputs);
  std::cout << "steps " << answers[3] << "\n";

  const auto written = torch::pickle_save(answers);
  std::ofstream(words[3], std::ios::binary).write(written.data(), written.size());
}
