"""An epoch of weft beside the script one would write with segmentation_models.pytorch and Lightning."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from harness import segmentation, write_pictures
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from weft.engine.interrupt import Signals
from weft.engine.run_folder import RunFolder
from weft.engine.train import Training

try:
    import lightning
except ImportError as error:
    raise SystemExit("this benchmark needs lightning: pip install lightning") from error

PICTURES, ROUNDS = 96, 3


class Pictures(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, root: Path) -> None:
        self.root, self.names = root, sorted(path.stem for path in (root / "image").iterdir())

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = np.asarray(Image.open(self.root / "image" / f"{self.names[index]}.jpg").convert("RGB"))
        label = np.asarray(Image.open(self.root / "label" / f"{self.names[index]}.png"))
        if np.random.default_rng().random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        picture = torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (picture - mean[:, None, None]) / std[:, None, None], torch.from_numpy(label.copy()).long()


class Segmenter(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = smp.DeepLabV3Plus("tu-resnet18", encoder_weights=None, classes=8)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return torch.nn.functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), PICTURES, 256)
        experiment = segmentation(Path(folder), size=256, train__precision="auto")
        training = Training(experiment, RunFolder.create(experiment, echo=False))
        loader = DataLoader(Pictures(Path(folder)), batch_size=8, shuffle=True, num_workers=2, persistent_workers=True)
        ratios: dict[str, list[float]] = {}
        for turn in range(ROUNDS + 1):
            training.position.step_in_epoch = 0
            start = time.perf_counter()
            training._train_epoch(Signals())
            rates = {"weft": PICTURES / (time.perf_counter() - start)}
            for precision in ("32-true", "bf16-mixed"):
                trainer = lightning.Trainer(
                    max_epochs=1,
                    precision=precision,
                    logger=False,
                    enable_checkpointing=False,
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    accelerator="cpu",
                )
                start = time.perf_counter()
                trainer.fit(Segmenter(), loader)
                rates[precision] = PICTURES / (time.perf_counter() - start)
                if turn:
                    ratios.setdefault(precision, []).append(rates["weft"] / rates[precision])
            print("  " + ", ".join(f"{name} {rate:.1f} images/s" for name, rate in rates.items()), flush=True)
        for precision, values in ratios.items():
            ordered = sorted(values)
            middle = ordered[len(ordered) // 2]
            print(f"weft over Lightning {precision}: {middle:.2f} [{ordered[0]:.2f}, {ordered[-1]:.2f}]")


if __name__ == "__main__":
    main()
