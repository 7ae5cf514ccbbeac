"""Learns to read handwritten digits, and reports after every epoch.

As a run of a sweep it takes its parameters from the sweep. It also runs by itself:

    python train.py --lr=0.05 --hidden=64 --activation=tanh
"""

import argparse
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import tune_bridge

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.01, help="learning rate")
parser.add_argument("--hidden", type=int, default=32, help="units of the hidden layer")
parser.add_argument("--activation", default="relu", choices=["relu", "tanh", "logistic"])
parser.add_argument("--epochs", type=int, default=30)
# A sweep may give its parameters as arguments too; those that are not ours are left alone.
arguments, _ = parser.parse_known_args()

run = tune_bridge.init(config=vars(arguments))
config = run.config

images, digits = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(
    images / 16.0, digits, test_size=0.25, random_state=0, stratify=digits
)
model = MLPClassifier(
    hidden_layer_sizes=(int(config["hidden"]),),  # W&B itself would send a whole number as 64.0
    activation=config["activation"],
    learning_rate_init=config["lr"],
    solver="sgd",
    batch_size=64,
    random_state=0,
)
warnings.simplefilter("ignore", ConvergenceWarning)

for _epoch in range(config["epochs"]):
    model.partial_fit(train_x, train_y, classes=range(10))
    probabilities = model.predict_proba(test_x)
    loss = float(log_loss(test_y, probabilities))
    accuracy = float((probabilities.argmax(axis=1) == test_y).mean())
    run.log({"mean_loss": loss, "accuracy": accuracy})

print(f"mean_loss {loss:.4f}, accuracy {accuracy:.4f}")
