"""The tables that the kernels read: layers, sources of rows, the numbers of a step, the units."""

from __future__ import annotations

# Columns of the table of layers, one row a layer. Offsets and strides count elements. WEIGHTS and
# BIASES are offsets in the flat parameters; INPUT, OUTPUT, DELTA and SLOPE in the work array.
(
    FAN_IN,
    FAN_OUT,
    WEIGHTS,
    BIASES,
    STRIDE,  # of the weights' rows, and of OUTPUT, DELTA and SLOPE
    ACTIVATION,
    INPUT,
    INPUT_STRIDE,
    COPY,  # from one thread's copy of INPUT to the next's, 0 where all share one
    OUTPUT,
    DELTA,
    SLOPE,  # derivatives of the activation, times the mask of dropout; 0 where none are kept
    DROP,  # hashes below this leave an input out; 0 without dropout
    MEASURED,  # place of the layer's first sum of squares
) = range(14)
COLUMNS = 14

# A source of rows: where they are, what they hold, and the bytes between rows and between columns.
ADDRESS, KIND, ROW_BYTES, COLUMN_BYTES = range(4)
FLOAT32, FLOAT64, UINT8, UINT8_PIXELS, LABELS, NONE = range(6)

# The numbers of a step, of which the first change from step to step. With the sum g of the
# gradients of the rows' losses, ``result = beta * result + alpha * g``; then an optimizer's.
(
    ALPHA,
    BETA,  # for weights
    RATE,
    LOOK_AHEAD,  # Nesterov's factor on the gradient
    CORRECTION,  # of the second slot's root
    DECAY,  # factor on weights
    BIAS_BETA,  # beta for biases
    SMOOTHING,  # of labels
    L1,
    L2,
    NORM_LIMIT,  # of the whole gradient
    VALUE_LIMIT,  # of each number of it
    UNIT_LIMIT,  # of the norm of a unit's weights
    FIRST,  # memory of the first slot: momentum, or Adam's beta1
    SECOND,  # memory of the second slot
    EPSILON,
) = range(16)
NUMBERS = 16

# Places in the table of units' addresses that is handed to every kernel that calls one.
(
    PRODUCT,
    SPARSE_PRODUCT,
    GATHER,
    ACTIVATE,
    FINISHING,
    ERROR,
    FORWARD_ONE,
    ONE_ROW,
    MOVE,
    MEASURE,
    LIMIT,
    FURTHER,
    PHASE,
) = range(13)

# What a step does, in this order: an operation, the layer, how it is split over the threads. The
# first says whether inputs are gathered, or read where they are.
OPERATION, LAYER, SPLIT = range(3)
(
    GATHERING,
    IN_PLACE,
    CHECK,
    FORWARD,
    FINISH,
    BACKWARD,
    UPDATING,  # adds the gradient to the result, which may be the parameters themselves
    STEPPING,  # computes the gradient part by part, and moves the parameters by each
    MEASURING,  # sums the squares of the gradient in the result
    MOVING,  # moves the parameters by the gradient in the result
    LIMITING,  # of the norms of units
    ADJUSTING,  # after gathering: standardises inputs, and leaves some out
) = range(12)
# Each thread takes a share of the rows (when updating those of the weights, else of the batch), or
# of the units (going backward those below, else the layer's), or everything for itself.
ROWS, UNITS, EVERYTHING = range(3)
