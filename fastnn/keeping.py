"""Networks as files: to go on with in fastnn, and for other programs."""

from __future__ import annotations

import os

from fastnn.model import files, storage
from fastnn.model.model import Model


class Keeping:
    """The part of `fastnn.Network` that writes files."""

    model: Model

    def save(self, path: str | os.PathLike[str], *, optimizer: bool = True) -> None:
        """Write the network to a ``.safetensors`` file, which `fastnn.load` reads.

        The file appears complete or not at all. Other libraries can read it; `fastnn.model.files`
        lists the names of the tensors, such as ``layers.0.weights``.

        Parameters
        ----------
        path : str or path
        optimizer : bool
            Also write the optimizer's state, with which training of the loaded network continues as
            that of this one would. Momentum and RMSprop double the size of the file, Adam and AdamW
            make it three times as large; False leaves the state out, for a network that is only
            used.

        Raises
        ------
        TypeError
            If ``path`` is no path.
        ValueError
            If it ends in ``.onnx``, which `export` writes.
        OSError
            If the file cannot be written (``FileNotFoundError`` if there is no folder for it,
            ``IsADirectoryError`` if it is a folder); an older file of that name stays as it is.
        """
        storage.write(path, *files.contents(self.model, optimizer))

    def export(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        prefix: str | None = None,
        int8: bool = False,
    ) -> None:
        """Write the network for programs that do not have fastnn.

        The file takes the same rows as `predict_proba` and gives the same outputs, up to rounding:
        it divides pixels by 255, standardises inputs, and knows the names of the classes. It
        appears complete or not at all.

        Parameters
        ----------
        path : str or path
            Its ending says what it will be: ``.onnx``, for ONNX Runtime and the like; ``.h``, a C
            header that needs nothing else; ``.py``, a Python file that needs only NumPy; ``.json``,
            plain numbers. Each is described in the documentation, under "Export".
        format : str, optional
            "onnx", "c", "python" or "json", for a path with another ending.
        prefix : str, optional
            What the names in a C header begin with. Default: the name of the file.
        int8 : bool
            In a C header, round the weights to 8 bits, with a scale for each unit: a quarter of
            the size, and other outputs. `fastnn.export.rounded` tells how much worse they are.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the format cannot say what the network computes.
        ImportError
            If the format needs a package that is not installed: onnx, for ``.onnx``.
        OSError
            As for `save`.
        """
        from fastnn import export

        export.write(path, self.model, format, prefix=prefix, int8=int8)
