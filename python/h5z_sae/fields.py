"""Fields of streams, from the front of a byte string: docs/format.md, "Notation"."""
from .checks import ModelError
from .entropy import signed


class ByteReader:
    """Fields from the front of a byte string."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        found = self.data[self.at:self.at + length]
        if len(found) < length:
            raise ModelError(f"stream: {len(self.data)} bytes end inside a field of {length} at {self.at}")
        self.at += length
        return found

    def integer(self, length: int, is_signed: bool = False) -> int:
        return int.from_bytes(self.take(length), "little", signed=is_signed)

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.integer(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise ModelError("stream: a varint is too long")

    def svarint(self) -> int:
        return signed(self.varint())
