"""The whole job from Python, on the built-in scenes: train, evaluate, answer."""

import numpy as np

import weft

encoder = {"type": "timm", "name": "mobilenetv3_small_050"}
run = weft.train(
    weft.load_experiment(
        {
            "name": "example",
            "data": {"format": "scenes", "resolution": [48, 48], "num_train": 16, "num_val": 4, "num_test": 4},
            "modalities": {"image": {"encoder": encoder}, "depth": {"encoder": encoder, "dropout": 0.2}},
            "fusion": "weighted",
            "tasks": {"label": {"type": "segmentation", "decoder": "unet"}, "room": {"type": "classification"}},
            "train": {"epochs": 1, "batch_size": 4, "precision": "fp32"},
        }
    )
)
result = weft.evaluate(run, quick=True)
print(result["tasks"]["label"]["subsets"]["image+depth"]["figures"]["mIoU"])
answers = weft.Predictor(run)(image=np.zeros((48, 48, 3), np.uint8))  # depth may be missing
print(answers["label"].shape, answers["room"])
