"""A second decoder of the fast coder, written from docs/format.md alone: little-endian f32 on a linear scale.

Plain loops over pixels, in the order and the words of the document; slow, and with no code of the library's.
"""
import re
import struct
from pathlib import Path

DOCUMENT = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
FAST_CODER = DOCUMENT[DOCUMENT.index("## Fast coder"):DOCUMENT.index("## Model file")]
CONSTANT, CODED, EMPTY, MIRRORED = "constant", "coded", "empty", "mirrored"


def table(name):
    """Rows of a table of the document, whose lines begin with the row's name."""
    lines = FAST_CODER[FAST_CODER.index(f"\n{name} "):].split("\n")[2:12]
    return [[int(number) for number in re.findall(r"\d+", line)[1:]] for line in lines]


RESIDUAL, BEYOND = table("RESIDUAL"), table("BEYOND")
NEGATIVE = [220, 181, 131, 47]
STILL = [1, 9, 2, 21, 2, 25, 3, 152, 17, 23, 123, 232, 15, 16, 76, 233] + [200, 240] * 8 + [250] * 16


class Body:
    """ "Range coder" and "Entropy coding". Adaptive bits are lists of p and n."""

    def __init__(self, data):
        self.data, self.at, self.range = data, 0, 2**64 - 1
        self.value = self.word() << 32 | self.word()

    def word(self):
        word = self.data[self.at:self.at + 4].ljust(4, b"\0")
        self.at += 4
        return int.from_bytes(word, "big")

    def refill(self):
        if self.range < 2**32:
            self.value = (self.value << 32 | self.word()) % 2**64
            self.range <<= 32

    def decision(self, p1):
        split = (self.range >> 16) * p1
        bit = self.value < split
        self.range = split if bit else self.range - split
        self.value -= 0 if bit else split
        self.refill()
        return int(bit)

    def adaptive(self, bit):
        p, n = bit
        found = self.decision(max(1, p >> 6))
        p += (((2**22 - 1 if found else 0) - p) * (131072 // (2 * n + 3))) >> 16
        bit[:] = p, min(n + 1, 255)
        return found

    def bits(self, count):
        number = 0
        for _ in range(count):
            number = 2 * number + self.decision(32768)
        return number

    def uniform(self, count):
        self.range >>= count
        number = min(self.value // self.range, 2**count - 1)
        self.value -= number * self.range
        self.refill()
        return number

    def symbol(self, nodes, count):
        node = 1
        for _ in range(count):
            node = 2 * node + self.adaptive(nodes[node])
        return node - 2**count

    def exp_golomb(self, decisions):
        group = 0
        while group < 63 and self.adaptive(decisions[min(group, len(decisions) - 1)]):
            group += 1
        return 2**group + self.bits(group) - 1


class Priors(dict):
    """Adaptive bits by context, begun at their first use."""

    def __init__(self, share, seen):
        super().__init__()
        self.share, self.seen = share, seen

    def __missing__(self, context):
        self[context] = [self.share(context) * 256 << 6, self.seen]
        return self[context]


def even(count):
    return [[2**21, 0] for _ in range(count)]


def unsigned(number):
    return -(number + 1) // 2 if number % 2 else number // 2


def clamp(x, low, high):
    return max(low, min(x, high))


class Parameters:
    """Header and parameters up to both bodies."""

    def __init__(self, stream):
        self.data, self.at = stream, 2
        payload, element = self.take(2)
        assert (element & 31, payload) == (10, 0x20), "f32 and a coded payload expected"
        if element >> 5 in (1, 2):
            self.varint(), self.svarint()
        if element >> 5:
            self.take(2)
        dims = [self.varint() for _ in range(self.take(1)[0])]
        assert len(dims) < 64, "a stream without model expected"
        self.values_crc = int.from_bytes(self.take(4), "little")
        self.take(2)
        self.rows, self.cols = (dims[-2] if len(dims) > 1 else 1), dims[-1]
        self.frames = 1
        for length in dims[:-2]:
            self.frames *= length
        if self.rows * self.cols < 64 and self.frames > 1:
            self.frames, self.rows, self.cols = 1, self.frames, self.rows * self.cols
        flags, fraction_bits = self.take(2)
        assert flags & 0b10111100 == 0b00100000 and fraction_bits == 128, (hex(flags), fraction_bits)
        self.step = struct.unpack("<d", bytes(5) + self.take(3))[0]
        self.low, self.high = self.svarint(), self.svarint()
        self.centre = None
        if flags & 2:
            middle = 4 * (self.rows - 1), 4 * (self.cols - 1)
            self.centre = middle if flags & 64 else (self.svarint(), self.svarint())
        self.patterns = [self.take(4) for _ in range(self.take(1)[0])] if flags & 1 else None
        self.headers = self.take(self.varint())
        self.pixels = self.data[self.at:]
        self.patch = (min(64, self.rows), min(64, self.cols)) if self.rows > 1 else (1, min(4096, self.cols))
        self.across = -(-self.cols // self.patch[1])
        self.n_patches = self.across * -(-self.rows // self.patch[0])

    def take(self, count):
        self.at += count
        return self.data[self.at - count:self.at]

    def varint(self):
        number = shift = 0
        while True:
            byte = self.take(1)[0]
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def svarint(self):
        return unsigned(self.varint())


def constants_of(p):
    """Of all patches of all frames: the value of a constant one, or None."""
    body, methods, values, value = Body(p.headers), [even(8) for _ in range(36)], [], 0
    decisions, found = even(20), []
    for i in range(p.frames * p.n_patches):
        left = found[i - 1] if i % p.across else 5
        before = found[i - p.n_patches] if i >= p.n_patches else 5
        found.append(body.symbol(methods[6 * left + before], 3))
        assert found[-1] in (0, 1)
        if found[-1] == 0:
            value += unsigned(body.exp_golomb(decisions))
        values.append(value if found[-1] == 0 else None)
    return values


class Decoder:
    """State of a chunk, and the planes of a frame."""

    def __init__(self, parameters):
        self.p = p = parameters
        self.body = Body(p.pixels)
        self.ground = clamp(0, p.low, p.high)
        self.still = Priors(lambda number: STILL[number], 2)
        self.empty = Priors(lambda mirror: 16, 2)
        self.nonzero = Priors(lambda c: RESIDUAL[c[0]][c[1]], 4)
        self.negative = Priors(lambda fraction: NEGATIVE[fraction % 4], 4)
        self.beyond = Priors(lambda c: BEYOND[c[0]][min(c[1], 7)], 4)
        self.second = Priors(lambda c: 64, 4)
        self.special_flags, self.special_numbers = even(32), [even(16) for _ in range(17)]
        self.X = {}

    def frame(self, constants):
        """Bytes of the next frame."""
        p = self.p
        self.constants, self.P, self.V, self.R, self.kinds, self.B = constants, {}, {}, {}, {}, {}
        self.X, self.X_before = {}, self.X
        for top in range(0, p.rows, 8):
            for left in range(0, p.cols, 8):
                self.kinds[top // 8, left // 8] = self.kind(top, left)
            for row in range(top, min(top + 8, p.rows)):
                for col in range(p.cols):
                    self.pixel(row, col)
        pixels = [(row, col) for row in range(p.rows) for col in range(p.cols)]
        return b"".join(self.B.get(at) or struct.pack("<f", self.P[at] * p.step) for at in pixels)

    def patch(self, row, col):
        return row // self.p.patch[0] * self.p.across + col // self.p.patch[1]

    def mirror_row(self, row):
        if self.p.centre is None or row < 0:
            return None
        quarters = self.p.centre[0] - 4 * row
        top, down = quarters >> 2, quarters % 4
        return (top, down) if 0 <= top and top + (down > 0) < row else None

    def mirror_col(self, col):
        quarters = self.p.centre[1] - 4 * col
        left, right = quarters >> 2, quarters % 4
        return (left, right) if col >= 0 and 0 <= left and left + (right > 0) < self.p.cols else None

    def image(self, row, col):
        """M, or None."""
        if self.mirror_row(row) is None or self.mirror_col(col) is None:
            return None
        (top, down), (left, right) = self.mirror_row(row), self.mirror_col(col)
        weights = {(0, 0): (4 - down) * (4 - right), (0, 1): (4 - down) * right,
                   (1, 0): down * (4 - right), (1, 1): down * right}
        parts = [self.P[top + i, left + j] * weight for (i, j), weight in weights.items() if weight]
        return (sum(parts) + 8) >> 4

    def kind(self, top, left):
        p = self.p
        if self.constants[self.patch(top, left)] is not None:
            return CONSTANT
        rows, columns = min(8, p.rows - top), min(8, p.cols - left)
        mirror = 0
        if self.mirror_row(top) and self.mirror_row(top + rows - 1) and self.mirror_col(left + columns // 2):
            upper, first = self.mirror_row(top + rows // 2)[0], self.mirror_col(left + columns // 2)[0]
            mirror = 1 if self.kinds[upper // 8, first // 8] == CODED else 2
        places = [(0, -1), (-1, 0), (-1, -1), (-1, 1)]
        kinds = [self.kinds.get((top // 8 + i, left // 8 + j)) for i, j in places]
        around = sum(2**i for i, kind in enumerate(kinds) if kind != CODED)
        if not self.body.adaptive(self.still[16 * mirror + around]):
            return CODED
        return EMPTY if not mirror or self.body.adaptive(self.empty[mirror]) else MIRRORED

    def pixel(self, row, col):
        p, at = self.p, (row, col)
        kind = self.kinds[row // 8, col // 8]
        if kind == CODED:
            return self.coded_pixel(row, col)
        image = self.image(row, col) if kind == MIRRORED else None
        self.P[at] = self.ground if image is None else image
        if kind == CONSTANT:
            self.P[at] = clamp(self.constants[self.patch(row, col)], p.low, p.high)

    def special(self, row, col):
        places = [(row, col - 1), (row - 1, col), (row - 1, col + 1), None, (row - 1, col - 1)]
        context = sum(2**i for i, place in enumerate(places) if self.X.get(place))
        before = self.X_before.get((row, col), 0)
        if not self.body.adaptive(self.special_flags[context + 8 * (before != 0)]):
            return False
        nodes = self.special_numbers[self.X.get((row, col - 1), 0) or before]
        number = self.body.symbol(nodes, 4)
        known = number < len(self.p.patterns)
        self.X[row, col] = number + 1
        self.B[row, col] = self.p.patterns[number] if known else self.body.bits(32).to_bytes(4, "little")
        return True

    def neighbours(self, row, col):
        P, last = self.P, self.p.cols - 1
        if row == 0:
            return P.get((0, col - 1), 0), P.get((0, col - 2), 0), 0, 0, 0, 0
        n, nn = P[row - 1, col], P.get((row - 2, col), 0)
        ne = P[row - 1, min(col + 1, last)]
        if col == 0:
            return n, n, n, nn, ne, nn
        ww = P[row, col - 2] if col > 1 else P[row - 1, 0]
        return P[row, col - 1], ww, n, P[row - 1, col - 1], ne, nn

    def coded_pixel(self, row, col):
        p, at = self.p, (row, col)
        special = p.patterns is not None and self.special(row, col)
        w, ww, n, nw, ne, nn = self.neighbours(row, col)
        v = [2 * (w + n) + ne - nw, w + n + nw + ne, 4 * (2 * w - ww), 4 * (2 * n - nn)]
        image = self.image(row, col)
        if image is not None:
            left, above = self.image(row, col - 1), self.image(row - 1, col)
            left, above = (image if other is None else other for other in (left, above))
            v[2:] = 4 * image, 4 * image + 2 * ((w - left) + (n - above))
        near = [(row, col - 1), (row - 1, col), (row - 1, col + 1)]
        recent = [sum(self.V[place][j] for place in near if place in self.V) for j in range(4)]
        a, b = int(recent[1] < recent[0]), 2 + int(recent[3] < recent[2])
        quarters = v[b if recent[b] < recent[a] else a] + 2
        prediction = clamp(quarters >> 2, p.low, p.high)
        r = 0
        if not special:
            activity = sum(self.R.get(place, 0) for place in near)
            relief = sum(2**i for i, place in enumerate((w, n, ne)) if place != self.ground)
            r = self.residual(activity, quarters % 4 + 4 * (image is not None), relief)
        self.P[at] = clamp(prediction + r, p.low, p.high)
        self.V[at] = [min(abs(4 * self.P[at] - guess), 2**26) for guess in v]
        self.R[at] = min(abs(r), 2**17)

    def residual(self, activity, fraction, relief):
        octave = max(activity, 1).bit_length() - 1
        bucket = activity if activity < 2 else 2 * min(octave, 4) + (activity >> (octave - 1)) % 2
        h = self.modelled(bucket, fraction, relief)
        if activity < 16:
            return h
        k = octave - 3
        return h * 2**k + self.body.uniform(k) - 2**(k - 1)

    def modelled(self, bucket, fraction, relief):
        body = self.body
        if not body.adaptive(self.nonzero[bucket, relief, fraction]):
            return 0
        negative = body.adaptive(self.negative[fraction])
        group = 0
        while group < 62 and body.adaptive(self.beyond[bucket, min(group, 11)]):
            group += 1
        magnitude = 1 if group == 0 else 2 + body.adaptive(self.second[bucket, min(group, 11)])
        left = max(group - 1, 0)
        while left:
            count = min(left, 16)
            magnitude, left = magnitude * 2**count + body.uniform(count), left - count
        return -magnitude if negative else magnitude


def decode(stream):
    """The chunk's bytes, and the checksum that the stream says they have."""
    parameters = Parameters(stream)
    constants, decoder = constants_of(parameters), Decoder(parameters)
    count = parameters.n_patches
    frames = [decoder.frame(constants[i * count:(i + 1) * count]) for i in range(parameters.frames)]
    return b"".join(frames), parameters.values_crc
