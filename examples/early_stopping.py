"""Early stopping: with few images a network soon learns them by heart; take back its best."""

import fastnn

X, y, test_X, test_y = fastnn.datasets.load_mnist()
net = fastnn.Network([784, 128, 10], seed=0)
history = net.train(
    X[:3000],
    y[:3000],
    epochs=100,
    optimizer="adam",
    schedule="constant",
    validation=0.2,  # of each digit a fifth is set aside
    early_stopping=fastnn.EarlyStopping("validation_loss", patience=5),
)
print(history)
print(f"stopped by {history.stopped}; the network is that of epoch {history.best_epoch}")
print(f"test accuracy {net.evaluate(test_X, test_y)['accuracy']:.4f}")
