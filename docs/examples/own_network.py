from torch import Tensor, nn

import aspire


class Net(nn.Module):
    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 32, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
        self.say = nn.Sequential(nn.Flatten(), nn.Linear(512, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.say(self.see(images))
        return logits


def loss(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, label_smoothing=0.05)


photos, how = aspire.load_dataset("photos"), aspire.Preprocessing(size=32)  # photos/CLASS/*.jpg
run = aspire.train(photos, model=Net, transform=how, objective=loss, settings={"fit.steps": 50})
found = aspire.discover(run.model, photos, transform=how, segmenter="grabcut_centre")
found.report("shortcuts.html")
print(found.features.head(), run.metrics["test"]["worst_class_acc"], run.predict("photos").head())
