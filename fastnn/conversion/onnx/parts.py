"""How many parts a protobuf file has, before protobuf makes objects of dozens of bytes of each."""

from __future__ import annotations

from typing import Any

MOST_PARTS = 200_000
_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5


def is_small(content: bytes, message: Any) -> bool:
    """Return whether a file has few parts: messages, texts and blocks of bytes.

    What is damaged counts as small; protobuf says so.

    Parameters
    ----------
    content : bytes
    message : google.protobuf.descriptor.Descriptor
        Of what the file holds.
    """
    left = MOST_PARTS
    waiting = [(0, len(content), message)]
    while waiting:
        place, end, message = waiting.pop()
        while place < end:
            key, place = _varint(content, place, end)
            kind = key & 7
            if kind == _VARINT:
                _, place = _varint(content, place, end)
            elif kind == _SIZED:
                size, place = _varint(content, place, end)
                field = message.fields_by_number.get(key >> 3)
                left -= field is not None
                if left < 0:
                    return False
                if field is not None and field.message_type is not None:
                    waiting.append((place, min(end, place + size), field.message_type))
                place += size
            elif kind in (_EIGHT, _FOUR):
                place += 8 if kind == _EIGHT else 4
            else:  # groups, which ONNX has none of
                break
    return True


def _varint(content: bytes, place: int, end: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and the place after it; 0 and the end if it is cut."""
    number = 0
    for i in range(place, min(end, place + 10)):
        number |= (content[i] & 127) << 7 * (i - place)
        if content[i] < 128:
            return number, i + 1
    return 0, end
