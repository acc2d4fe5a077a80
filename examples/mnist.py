"""MNIST beyond 98.4%: a wider network with dropout, AdamW and a cosine with warm-up.

The test images are looked at once, at the end.
"""

import fastnn

X, y, test_X, test_y = fastnn.datasets.load_mnist()
net = fastnn.Network([784, 512, 256, 10], activation="relu", init="he", seed=0)
net.summary()
history = net.train(
    X,
    y,
    epochs=15,
    batch_size=128,
    optimizer=fastnn.optimizers.AdamW(learning_rate=0.002, weight_decay=0.05),
    schedule=fastnn.schedules.Cosine(warmup=1),
    dropout=[0.1, 0.3, 0.3],
)
# Not print(history): it shows the rate at the start of each epoch, which is 0 before the warm-up.
for row in history:
    print(f"epoch {row['epoch']:2}  loss {row['loss']:.4f}  {row['seconds']:.1f} s")
print(f"test accuracy {net.evaluate(test_X, test_y)['accuracy']:.4f}")
