"""The data of a run that come from a stream, see `fastnn.datasets.stream`."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np

from fastnn import backends
from fastnn.activations import Array
from fastnn.backends.contract import Examples
from fastnn.checks import data as check
from fastnn.checks.tables import is_frame
from fastnn.checks.targets import Targets, balanced
from fastnn.checks.warning import heard_by, warn
from fastnn.distributed import Agreement
from fastnn.model.model import Model
from fastnn.model.scaling import Combine, Moments, as_they_are, scaler_of
from fastnn.sparse_rows import is_sparse
from fastnn.streams.ahead import Ahead
from fastnn.streams.stream import Block, Stream, blocks_of, of_blocks
from fastnn.training import row_weights
from fastnn.training.buffers import Buffered, Source
from fastnn.training.calls import NO_WEIGHTS, call_without_data, parts_of, refuse_differences
from fastnn.training.data import TrainingData, held_out
from fastnn.training.data import checked as checked_arrays
from fastnn.training.evaluation import scale_targets
from fastnn.training.loop import bar_of
from fastnn.training.settings import TrainingSettings
from fastnn.training.settings import checked as checked_settings
from fastnn.training.sums import Mean, mean_of_all
from fastnn.training.survey import Reader, Survey, as_computed
from fastnn.training.warned import Warned


@dataclass(frozen=True, kw_only=True)
class StreamedData(TrainingData):
    """The data of a run that come from a stream.

    X, targets and weights are those of a sample of the rows, which shows what kind they are of.

    Attributes
    ----------
    stream : Stream
    counts : tuple of int
        The rows of each part.
    reader : Reader
    by_class : ndarray or None
        The weights of the classes.
    mean : float or None
        Of the weights of all rows.
    inputs, outputs : Moments or None
        Of the inputs and the targets, if the model learns from them how to scale.
    checksums : dict of int
    """

    stream: Stream
    counts: tuple[int, ...]
    reader: Reader
    by_class: Array | None
    mean: float | None
    inputs: Moments | None
    outputs: Moments | None
    checksums: dict[str, int | None]

    apart = True

    def __len__(self) -> int:
        return sum(self.counts)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that X would have."""
        return len(self), self.X.shape[1]

    def supply(self, model: Model) -> Buffered:
        """Return where a run of a model gets its rows from."""
        write = backends.get(model.backend).write_columns
        return Buffered(Source(self.stream, self.counts, partial(self.read, model), write))

    def read(self, model: Model, block: Block) -> Examples:
        """Return the rows of a block, for a model that has its scalers."""
        dtype = model.architecture.dtype
        X, targets = self.reader.read(block)
        Y = scale_targets(model, targets)
        if Y.ndim > 1:
            Y = Y.astype(dtype, copy=False)
        weights = None
        if self.mean is not None:
            with block.named():
                name = f"{block.name}: sample_weight"
                own = row_weights.of_rows(name, block.weights, targets, self.by_class, some=False)
            assert own is not None
            weights = (own / self.mean).astype(dtype)
        return Examples(as_computed(X, dtype), Y, weights)

    def learn_scales(self, model: Model, combined: Combine = as_they_are) -> None:
        """Compute the scalers of a model that standardises and has none yet."""
        dtype = model.architecture.dtype
        inputs, targets = model.input_scaler, model.target_scaler
        if self.inputs is not None and inputs is None:
            pixels = bool(self.X.dtype == np.uint8)
            inputs = scaler_of("X", combined(self.inputs), pixels, dtype, self.features)
        if self.outputs is not None and targets is None:
            targets = scaler_of("y", combined(self.outputs), False, dtype)
        model.use_scalers(inputs, targets)

    def fingerprints(self, operations: float) -> dict[str, int | None]:
        """Return checksums of the stream, and of each array of the validation data."""
        return self.checksums | self.fingerprints_aside(operations)

    def compared(self, operations: float) -> dict[str, Any]:
        """Return what is the same on all ranks that were called with the same data."""
        return self.fingerprints_aside(0)  # of which ranks with other rows read as much


def stream_of(X: Any, y: Any) -> Stream | None:
    """Return the stream that the arguments of `fastnn.Network.train` are, or None for arrays.

    Raises
    ------
    TypeError, ValueError
        If there are targets beside a stream, or none and no stream.
    """
    if isinstance(X, Stream):
        if y is not None:
            raise ValueError("y must be left out, as the blocks of the stream hold it")
        return X
    if y is not None:
        return None
    if isinstance(X, str | os.PathLike):
        raise TypeError(
            f"X is a path; need train(fastnn.datasets.stream({os.fspath(X)!r}, label=...)), or the "
            "arrays that fastnn.datasets.load reads"
        )
    array = isinstance(X, np.ndarray) or is_frame(X) or is_sparse(X)
    rows = isinstance(X, Sequence) and len(X) and not _is_block(X[0])
    if array or rows or (hasattr(X, "__array__") and not callable(X)):
        raise TypeError(
            "y must be labels or numbers, got None; without y, X is a stream: see "
            "fastnn.datasets.stream"
        )
    return of_blocks(X)


def _is_block(given: Any) -> bool:
    """Whether this may be meant as (X, y) or (X, y, sample_weight), and not as a row of numbers."""
    pair = isinstance(given, tuple | list) and len(given) in (2, 3)
    return pair and hasattr(given[0], "__len__") and not isinstance(given[0], str)


def checked(
    model: Model,
    X: Any,
    y: Any,
    given: dict[str, Any],
    of_data: tuple[Any, Any, Any],
    agreement: Agreement,
) -> tuple[TrainingData, TrainingSettings]:
    """Return data and settings of a run on arrays or a stream.

    Parameters
    ----------
    model : Model
    X, y
        As for `fastnn.Network.train`.
    given : dict
        The settings.
    of_data : tuple
        The arguments validation, sample_weight and class_weight.
    agreement : Agreement
        Of the ranks that train together.
    """
    stream = stream_of(X, y)
    kind = "arrays" if stream is None else "a stream"
    refuse_differences(agreement.gathered({"kind of data": kind}))
    if stream is None:
        arrays = checked_arrays(model, X, y, *of_data, agreement=agreement)
        return arrays, checked_settings(given, model.architecture, len(arrays))
    validation, sample_weight, class_weight = of_data
    if isinstance(validation, float | int | np.number):
        raise ValueError(
            f"validation={validation} sets a share of arrays aside, and this is a stream; pass "
            "(X, y) or (X, y, sample_weight)"
        )
    if sample_weight is not None:
        raise ValueError(
            "sample_weight is for arrays, and this is a stream; its blocks hold the weights, as "
            "(X, y, sample_weight)"
        )
    if given["training_metrics"]:
        raise ValueError(
            "training_metrics needs all rows in memory, and this is a stream; pass some of them as "
            "validation=(X, y)"
        )
    chosen = checked_settings(given, model.architecture, sys.maxsize)
    _check_alone(model, chosen, validation, class_weight)
    if chosen.communicator is not None:
        stream = _of_this_rank(model, stream, chosen, validation, class_weight, agreement)
    with bar_of(chosen.progress if agreement.rank == 0 else False, stream.rows) as bar:
        bar.set_description_str("first pass")
        data = surveyed(model, stream, of_data, bar, chosen.shuffle, agreement)
    rows = sum(agreement.gathered(len(data)))
    return data, dataclasses.replace(chosen, batch_size=min(chosen.batch_size, rows))


def _of_this_rank(
    model: Model,
    stream: Stream,
    settings: TrainingSettings,
    validation: Any,
    class_weight: Any,
    agreement: Agreement,
) -> Stream:
    """Return what this rank reads, after comparing, before a long pass, what all ranks got."""
    assert settings.communicator is not None
    call: dict[str, Any] = {"local": agreement.local, "length of a buffer": stream.buffer}
    if not agreement.local:
        call |= parts_of(stream)
    elif class_weight is not None:
        raise ValueError(NO_WEIGHTS)
    call |= {"class_weight": None if class_weight is None else repr(class_weight)}
    call |= {"validation": validation is not None}
    call |= call_without_data(model, settings, settings.communicator)
    refuse_differences(agreement.gathered(call))
    return stream if agreement.local else stream.share(agreement.rank, agreement.size)


def _check_alone(
    model: Model, settings: TrainingSettings, validation: Any, class_weight: Any
) -> None:
    """Refuse, before a first pass that may take long, what needs no look at the rows."""
    metric = settings.early_stopping and settings.early_stopping.metric
    if validation is not None:
        X = check.held_out("validation", validation)[0]
        if isinstance(X, np.ndarray):  # of others columns may have names, as in the stream
            check.features("validation X", X, model.architecture, None, finite=False)
    elif metric not in (None, "loss"):
        raise ValueError(
            f"early_stopping on {metric!r} needs validation data: pass validation=(X, y), or watch "
            "the training loss with early_stopping=EarlyStopping('loss')"
        )
    if class_weight is not None and not isinstance(class_weight, Mapping):
        labels = np.arange(max(2, model.architecture.sizes[-1]))
        known = Targets(labels.astype(model.architecture.dtype), labels)
        row_weights.of_classes(class_weight, known, model.architecture, None)


def surveyed(
    model: Model,
    stream: Stream,
    of_data: tuple[Any, Any, Any],
    bar: Any,
    shuffle: bool,
    agreement: Agreement,
) -> StreamedData:
    """Return the data of a stream, after a pass through it; with class weights, after another.

    Ranks go through streams of their own, and learn from each other what holds for all.
    """
    architecture, survey = model.architecture, Survey(model, agreement)
    reader, (validation, _, class_weight) = survey.reader, of_data
    warned = Warned(agreement)
    with heard_by(warned.hear):
        _go_through(stream, survey.add, bar, agreement, warned)
        if not survey.counts:
            raise ValueError("the stream gave no rows; need blocks of (X, y) in every epoch")
        if shuffle:
            _warn_of_sorted(stream, survey)
        check.warn_of_no_pixels("X", survey.sample.X)
    warned.say_those_of_others()
    reader.refuse_others(agreement)
    order = reader.found(agreement)
    rows_of_classes = survey.rows_of_classes(order)
    labelled, of_ranks = zip(*agreement.gathered((survey.labelled, rows_of_classes)), strict=True)
    sample = survey.sample
    targets = sample.targets(order)
    by_class, weighed = None, survey.mean
    if class_weight is not None:
        known = Targets(targets.values, targets.labels if all(labelled) else None)
        if known.labels is not None and isinstance(class_weight, str):
            class_weight = balanced(sum(of_ranks)) if class_weight == "balanced" else class_weight
        by_class = row_weights.of_classes(class_weight, known, architecture, reader.classes)
        weighed = _mean(stream, reader, by_class, bar, agreement, warned)
    mean = mean_of_all(agreement.gathered(None if weighed is None else weighed.sums))
    weights = row_weights.of_rows("sample_weight", sample.weights, targets, by_class, some=False)
    evaluated = {}
    if validation is not None:
        names, classes = reader.names, reader.classes
        evaluated["validation"] = held_out(model, validation, names, classes, by_class)
    labels = {} if targets.values.ndim > 1 else {"y": crc32(rows_of_classes.tobytes())}
    counts = [*survey.counts, *[0] * (len(stream.parts) - len(survey.counts))]
    return StreamedData(
        sample.X,
        targets,
        None if weights is None or mean is None else (weights / mean).astype(architecture.dtype),
        None,
        evaluated,
        reader.names,
        reader.classes,
        stream=stream,
        counts=tuple(counts),
        reader=reader,
        by_class=by_class,
        mean=mean,
        inputs=None if survey.inputs is None else survey.inputs.moments,
        outputs=None if survey.targets is None else survey.targets.moments,
        checksums={
            "the number of rows of each part": crc32(repr(counts).encode()),
            "the length of a buffer": stream.buffer,
            "the weights of the classes": None if by_class is None else crc32(by_class.tobytes()),
            **survey.checksums,
            **labels,
        },
    )


def _warn_of_sorted(stream: Stream, survey: Survey) -> None:
    """Warn of buffers with rows of a single class, of which a network forgets the others."""
    run, several = survey.longest, sum(count > 0 for count in survey.labels.values()) > 1
    if several and sum(survey.counts) > stream.buffer <= run.rows:
        warn(
            f"{stream.parts[run.part].name} has {run.rows:,} rows of one class one after the "
            f"other, and {stream.buffer:,} are shuffled together, so that the network learns one "
            "class and forgets the others; need the rows in random order, parts that are much "
            "smaller than the buffer, or a larger buffer"
        )


def _mean(
    stream: Stream,
    reader: Reader,
    by_class: Array | None,
    bar: Any,
    agreement: Agreement,
    warned: Warned,
) -> Mean:
    """Return what leads to the mean of the weights of all rows, those of classes included."""
    mean = Mean()

    def add(part: int, block: Block) -> int:
        targets = reader.read(block)[1]
        weights = row_weights.of_rows("sample_weight", block.weights, targets, by_class, some=False)
        assert weights is not None
        mean.add(weights)
        return 0

    _go_through(stream, add, bar, agreement, warned)
    return mean


def _go_through(
    stream: Stream,
    use: Callable[[int, Block], int],
    bar: Any,
    agreement: Agreement,
    warned: Warned,
) -> None:
    """Hand on all blocks, each with the position of its part; the same warning is heard but once.

    What takes them returns how far the bar is to go on. An error of another rank ends this one,
    too, between two blocks.
    """
    with heard_by(warned.hear), Ahead(partial(_blocks, stream), early=stream.lasting) as ahead:
        while (found := ahead.take()) is not None:
            with heard_by(partial(warned.hear, name=found[1].name)):
                bar.update(use(*found))
            agreement.look_up()
        agreement.wait_for_others()


def _blocks(stream: Stream, over: threading.Event) -> Iterator[tuple[int, Block]]:
    for i, part in enumerate(stream.parts):
        for block in blocks_of(part):
            if over.is_set():
                return
            yield i, block
