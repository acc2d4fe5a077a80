"""The page to draw on: what is written, and what it does in a browser, where one is found."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import fastnn
from fastnn import draw
from fastnn.activations import HIDDEN
from fastnn.datasets.digits import centred

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SECONDS_TO_HANG = 120
MOST_BYTES = 300_000  # of the page of [784, 128, 10]
CLOSE = 1e-3  # weights have 16 bits
NOTHING = "\N{EN DASH}"  # what stands for a probability before anything is drawn
# What an error or a refusal of the policy of the page leaves, before the page's own scripts.
NOTING = """<script>
window.noted = [];
window.requestAnimationFrame = act => setTimeout(act, 10); // in virtual time there are few frames
addEventListener("error", event => noted.push(event.message));
addEventListener("securitypolicyviolation", event => noted.push(event.violatedDirective));
</script>
"""
# Something is done with the page, and what it returns is left in it.
DOING = """<script>
(async () => {{
  const images = text => {{
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    const picture = i => bytes.subarray(784 * i, 784 * i + 784);
    return Array.from({{length: bytes.length / 784}}, (_, i) => picture(i));
  }};
  const soon = () => new Promise(done => setTimeout(done, 100));
  const pad = document.getElementById("pad");
  pad.setPointerCapture = () => {{}}; // events of a script have no pointer
  const pointer = (name, x, y) => {{
    const box = pad.getBoundingClientRect();
    const at = {{clientX: box.left + x * box.width, clientY: box.top + y * box.height}};
    pad.dispatchEvent(new PointerEvent(name, {{pointerId: 1, button: 0, bubbles: true, ...at}}));
  }};
  const stroke = points => {{
    points.forEach(([x, y], i) => pointer(i ? "pointermove" : "pointerdown", x, y));
    pointer("pointerup", ...points.at(-1));
  }};
  const press = (key, more = {{}}) =>
    pad.dispatchEvent(new KeyboardEvent("keydown", {{key, bubbles: true, ...more}}));
  const click = id => document.getElementById(id).click();
  const shares = () => [...document.querySelectorAll("#bars .share")].map(each => each.textContent);
  let result;
  try {{
    result = await (async () => {{ {body} }})();
  }} catch (error) {{ noted.push(String(error)); }}
  const pre = document.createElement("pre");
  pre.id = "result";
  pre.textContent = JSON.stringify([noted, result ?? null]);
  document.body.append(pre);
}})();
</script>
"""


def network(sizes, *, rows=200, labels=None, **arguments):
    """Return a network that has seen some random pixels."""
    rng = np.random.default_rng(0)
    X = pictures(rows)
    y = rng.integers(0, max(2, sizes[-1]), rows) if labels is None else np.resize(labels, rows)
    net = fastnn.Network(sizes, backend="numpy", seed=0, **arguments)
    net.train(X, y, epochs=1, learning_rate=0.01, progress=False)
    return net


def pictures(count):
    """Return random pixels, most of them 0."""
    rng = np.random.default_rng(1)
    return (rng.integers(0, 256, (count, 784)) * (rng.random((count, 784)) < 0.2)).astype(np.uint8)


def written(net, tmp_path, **arguments):
    path = tmp_path / "draw.html"
    draw.write(path, net, **arguments)
    return path.read_text(encoding="utf-8")


def done_in(page, body, tmp_path):
    """Open a page in a browser, do something there, and return what that returned."""
    assert page.count("<script") == 2
    page = page.replace("<script", f"{NOTING}<script", 1)
    page = page.replace("</body>", DOING.format(body=body) + "</body>")
    path = tmp_path / "opened.html"
    path.write_text(page, encoding="utf-8")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,900",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=60000", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=SECONDS_TO_HANG)
    dom = done.stdout.decode("utf-8", "replace")
    found = re.search(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    assert found, done.stderr.decode("utf-8", "replace")[-2000:]
    noted, result = json.loads(html.unescape(found[1]))
    assert noted == []
    return result


def in_base64(X):
    return base64.b64encode(X.tobytes()).decode("ascii")


def predicted_in_the_page(net, X, tmp_path):
    body = f'return images("{in_base64(X)}").map(window.fastnn.predict);'
    return np.array(done_in(written(net, tmp_path), body, tmp_path))


@pytest.fixture(scope="module")
def mnist():
    try:
        return fastnn.datasets.load_mnist(download=False)
    except FileNotFoundError:
        pytest.skip("MNIST is not here")


@in_a_browser
def test_the_page_predicts_what_the_network_predicts(mnist, tmp_path):
    net = fastnn.Network([784, 128, 10], seed=0)
    net.train(mnist.train_images[:5000], mnist.train_labels[:5000], epochs=5, progress=False)
    X = mnist.test_images[:1000]
    found = predicted_in_the_page(net, X, tmp_path)
    np.testing.assert_allclose(found, net.predict_proba(X), rtol=0, atol=CLOSE)


@in_a_browser
@pytest.mark.parametrize(
    ("sizes", "arguments"),
    [
        ([784, *[24] * len(HIDDEN), 4], {"activation": list(HIDDEN)}),
        ([784, 10], {}),
        ([784, 12, 10], {"standardize_inputs": True}),
        ([784, 12, 1], {"labels": ["no", "yes"], "activation": "tanh"}),
        ([784, 12, 5], {"output": "sigmoid", "dtype": "float64"}),
    ],
    ids=["every activation", "no hidden layer", "standardised", "one sigmoid", "several sigmoids"],
)
def test_the_page_predicts_with_any_network(sizes, arguments, tmp_path):
    net = network(sizes, **arguments)
    X = pictures(50)
    found = predicted_in_the_page(net, X, tmp_path)
    np.testing.assert_allclose(found, net.predict_proba(X), rtol=0, atol=CLOSE)


@in_a_browser
@pytest.mark.parametrize("scaled", [False, True])
def test_with_factors_in_bfloat16_the_page_rounds_weights_alone(scaled, tmp_path):
    net = network([784, 24, 4], precision="bfloat16", standardize_inputs=scaled)
    X = pictures(50)
    found = predicted_in_the_page(net, X, tmp_path)
    np.testing.assert_allclose(found, net.predict_proba(X), rtol=0, atol=1e-2)


@in_a_browser
def test_what_speaks_for_a_class_is_gradient_times_input(tmp_path):
    classes = 4
    net = network([784, *[24] * len(HIDDEN), classes], activation=list(HIDDEN))
    X = pictures(1)
    body = f"""
      const [picture] = images("{in_base64(X)}");
      return Array.from({{length: {classes}}}, (_, c) => window.fastnn.contributions(picture, c));
    """
    found = np.array(done_in(written(net, tmp_path), body, tmp_path))
    # The gradient of the cross-entropy of class c is that of sum_k p_k z_k - z_c.
    of_losses = np.array([net.input_gradient(X, [c])[0] for c in range(classes)])
    expected = (of_losses.mean(axis=0) - of_losses) * (X / 255)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())


@in_a_browser
def test_the_page_centres_drawings_as_read_images_does(tmp_path):
    rng = np.random.default_rng(2)
    drawings = []
    for height, width in ((30, 50), (200, 120), (7, 3), (280, 280), (20, 20), (64, 9)):
        ink = np.zeros((height + 40, width + 30))
        ink[10 : 10 + height, 25 : 25 + width] = rng.random((height, width)) ** 3
        drawings.append(ink.round(6))
    given = json.dumps([[ink.ravel().tolist(), *ink.shape] for ink in drawings])
    body = f"return {given}.map(each => Array.from(window.fastnn.centred(...each)));"
    found = np.array(done_in(written(network([784, 10]), tmp_path), body, tmp_path))
    expected = np.array([centred(ink).ravel() for ink in drawings], int)
    assert np.abs(found - expected).max() <= 1  # sums in another order round otherwise


@in_a_browser
def test_drawing_undo_and_clear(tmp_path):
    body = """
      const seen = [shares()];
      const next = async () => { await soon(); seen.push(shares()); };
      stroke([[0.3, 0.2], [0.7, 0.2], [0.5, 0.8]]);
      await next();
      stroke([[0.3, 0.5], [0.7, 0.5]]);
      await next();
      click("undo");
      await next();
      click("clear");
      await next();
      click("undo");
      await next();
      return seen;
    """
    seen = done_in(written(network([784, 12, 10]), tmp_path), body, tmp_path)
    empty, one, two, undone, cleared, restored = seen
    assert set(empty) == {NOTHING} == set(cleared)
    assert one == undone == restored != two
    assert sum(float(share.rstrip("%")) for share in one) == pytest.approx(100, abs=0.6)


@in_a_browser
def test_drawing_with_keys(tmp_path):
    body = """
      const seen = [];
      for (const keys of [["ArrowUp", " ", "ArrowRight"], ["ArrowDown", " "], ["Backspace"]]) {
        for (const key of keys) for (let i = 0; i < (key.length > 5 ? 12 : 1); i++) press(key);
        await soon();
        seen.push(shares());
      }
      press("z", {ctrlKey: true});
      return seen;
    """
    line, corner, undone = done_in(written(network([784, 12, 10]), tmp_path), body, tmp_path)
    assert line != corner
    assert NOTHING not in line + corner
    assert undone == [NOTHING] * 10


@in_a_browser
def test_a_click_on_a_bar_shows_what_speaks_for_that_class(tmp_path):
    net = network([784, 12, 2], labels=["cat", "dog"])
    body = """
      const seen = [];
      const spoken = () => [
        document.getElementById("spoken").textContent,
        document.getElementById("speaks").toDataURL(),
      ];
      stroke([[0.3, 0.2], [0.7, 0.2], [0.5, 0.8]]);
      await soon();
      for (const place of [0, 1]) {
        document.querySelectorAll("#bars button")[place].click();
        seen.push(spoken());
      }
      return seen;
    """
    (cat, one), (dog, other) = done_in(written(net, tmp_path), body, tmp_path)
    assert (cat, dog) == ("What speaks for cat", "What speaks for dog")
    assert one != other


@pytest.mark.parametrize("standardize", [False, True])
def test_the_page_is_small(standardize, tmp_path):
    written(network([784, 128, 10], standardize_inputs=standardize), tmp_path)
    assert (tmp_path / "draw.html").stat().st_size <= MOST_BYTES


def test_the_page_asks_nobody_for_anything(tmp_path):
    page = written(network([784, 12, 10]), tmp_path)
    assert "default-src 'none'" in page
    assert not re.search(r"https?:|//\w+\.|@import|url\(|fetch\(|XMLHttp|\bimport\b", page)
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["data:,"]


def test_names_cannot_end_the_script(tmp_path):
    net = network([784, 12, 2], labels=["</script><b>", "b"])
    page = written(net, tmp_path, title="a < b & {{style}}")
    assert page.count("</script>") == 2
    assert "<title>a &lt; b &amp; {{style}}</title>" in page


@pytest.mark.parametrize(
    ("sizes", "arguments", "message"),
    [
        ([4, 3], {}, "the network has 4 inputs; need 784, the pixels of 28 x 28"),
        ([784, 3], {"output": "identity"}, "output is 'identity'; need 'softmax' or 'sigmoid'"),
    ],
)
def test_other_networks_are_refused(sizes, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        draw.write(tmp_path / "draw.html", fastnn.Network(sizes, **arguments))
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    net = network([784, 12, 10])
    net.weights[1][0, 0] = np.nan
    with pytest.raises(ValueError, match="layer 1 has weights that are not finite"):
        draw.write(tmp_path / "draw.html", net)
    assert not list(tmp_path.iterdir())


def test_a_committee_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"such as a member .*committee\[0\]; got <Committee"):
        draw.write(tmp_path / "p.html", fastnn.Committee([network([784, 10])]))


def test_what_is_no_network_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"must be a single fastnn.Network, .*; got '.*draw\.html'"):
        draw.write(network([784, 10]), str(tmp_path / "draw.html"))


def test_a_title_is_text(tmp_path):
    with pytest.raises(TypeError, match="title must be a text, got 3"):
        draw.write(tmp_path / "draw.html", network([784, 10]), title=3)


def test_a_network_that_was_not_trained_on_pixels_is_warned_of(tmp_path):
    with pytest.warns(UserWarning, match="was not trained on uint8, the type of pixels"):
        draw.write(tmp_path / "draw.html", fastnn.Network([784, 10]))


def test_the_command_line_writes_the_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    network([784, 12, 10]).save("digits.safetensors")
    assert draw.main(["digits.safetensors", "--title", "Mine"]) == 0
    assert "draw.html, " in capsys.readouterr().out
    assert "<h1>Mine</h1>" in (tmp_path / "draw.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.safetensors"], "there is no file 'none.safetensors'"),
        (["net.safetensors", "--output", "net.safetensors"], "--output would overwrite"),
        (["net.safetensors"], "the network has 4 inputs; need 784"),
        (["committee.safetensors"], "holds a committee, and the page takes one network"),
    ],
)
def test_the_command_line_refuses(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fastnn.Network([4, 3]).save("net.safetensors")
    fastnn.Committee([fastnn.Network([784, 10])]).save("committee.safetensors")
    with pytest.raises(SystemExit, match="2"):
        draw.main(arguments)
    assert message in capsys.readouterr().err
