"""neuraloperator's own Trainer
============================

Train a refiner with neuraloperator's own Trainer, like an FNO.

The loss has the interface of neuraloperator's losses, and sums over the batch like them. In training the
refiner passes all supervised steps to it; in evaluation the refiner returns a field.
"""

import tempfile
import warnings

import torch
from neuralop import Trainer
from neuralop.losses import LpLoss
from neuralop.models import FNO
from neuralop.training import AdamW
from torch.utils.data import DataLoader

import neuralop_irno as irno
from neuralop_irno import burgers

# neuraloperator's losses warn about every entry of the batch that they do not use.
warnings.filterwarnings("ignore", message="LpLoss.__call__")

torch.manual_seed(0)
data = burgers(trajectories=(16, 2, 4))
train = DataLoader(data["train"], batch_size=16, shuffle=True)
test = {64: DataLoader(data["test"], batch_size=16)}

base = FNO(n_modes=(8,), in_channels=1, out_channels=1, hidden_channels=16, n_layers=2)
model = irno.IterativeRefiner(base, {"name": "unet", "width": 8, "depth": 2}, steps=4, alpha=0.5)
loss = irno.RefinementLoss(spectral=0.1, fixed_point=0.01)

optimizer = AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=8)
with tempfile.TemporaryDirectory() as folder:
    trainer = Trainer(model=model, n_epochs=8, device="cpu", eval_interval=4, verbose=True)
    trainer.train(
        train,
        test,
        optimizer,
        scheduler,
        training_loss=loss,
        eval_losses={"l2": LpLoss(d=1)},
        save_best="64_l2",
        save_dir=folder,
    )
    # The checkpoint needs no unpickling and contains the config to rebuild the model.
    best = irno.IterativeRefiner.from_checkpoint(folder, "best_model")
x = data["test"].x[:4]
print("the best model's output:", tuple(best.eval()(x).shape))
