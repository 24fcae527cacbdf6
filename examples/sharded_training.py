"""A refiner whose weights are divided among processes: torchrun --nproc-per-node 2 sharded_training.py."""

import torch
import torch.distributed as dist
from neuralop.models import FNO
from torch.distributed.device_mesh import init_device_mesh

import neuralop_irno as irno

dist.init_process_group("gloo")  # on GPUs "nccl", and torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
mesh = init_device_mesh("cpu", (dist.get_world_size(),))  # on GPUs "cuda"
base = FNO(n_modes=(8, 8), in_channels=1, out_channels=1, hidden_channels=16)
model = irno.IterativeRefiner(base, correction="unet", freeze_base=False, in_channels=1, out_channels=1)
model = irno.parallel.shard(model, mesh, blocks=list(base.fno_blocks.convs))
optimizer, loss = torch.optim.AdamW(model.parameters()), irno.RefinementLoss(fixed_point=0.1)
torch.manual_seed(dist.get_rank())  # every process has its own samples
for _ in range(3):
    x = torch.randn(4, 1, 16, 16)
    loss(model.train()(x, y=x.roll(1, -1)), x.roll(1, -1)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained("sharded")  # all processes call it; the first one writes whole weights
dist.destroy_process_group()
