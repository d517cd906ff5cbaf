# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Texts of one width as bytes: what they have in common once, the rest in as few bits as it needs.

Made for container IDs, UUIDs and the names of one deployment's pods. Layout::

    texts := width:u8 bits:u8 differs[(width + 7) // 8] same[width - d] codes[(count * d * bits + 7) // 8]

Bit ``i % 8`` of byte ``i // 8`` of ``differs`` is set where the texts do not all have the same character at
position i; there are d such positions. ``same`` has the characters at the others. ``codes`` has, text after
text, the characters at the d positions as indexes into the alphabet of ``bits``: the highest bit first, zeros
at the end. ``bits`` is 0 where d is 0. The alphabets::

    4   0123456789abcdef
    5   0123456789bcdfghjklmnpqrstvwxz-.        with Kubernetes' random endings of names
    6   0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcpy, memset

cdef extern from "Python.h":
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef enum:
    MOST = 256        # texts
    WIDEST = 255      # characters of each
    HEAD = 2          # bytes before ``differs``
    FEWEST_BITS = 4
    MOST_BITS = 6
    NO_CODE = 128     # a character that an alphabet does not have
    STRIDE = 8        # characters that are coded at a time: they fill whole bytes with any number of bits

cdef const char* ALPHABET[MOST_BITS + 1]
cdef uint8_t CODE[MOST_BITS + 1][256]

ALPHABET[4] = b"0123456789abcdef"
ALPHABET[5] = b"0123456789bcdfghjklmnpqrstvwxz-."
ALPHABET[6] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-."


cdef void make_codes() noexcept:
    cdef int bits, i
    for bits in range(FEWEST_BITS, MOST_BITS + 1):
        memset(CODE[bits], NO_CODE, 256)
        for i in range(1 << bits):
            CODE[bits][<uint8_t>ALPHABET[bits][i]] = i


make_codes()

cdef struct Run:
    int start
    int length

cdef struct Shape:        # which positions of a text differ
    int width
    int differing
    int runs
    Run[128] run          # neighbouring positions that differ


cdef void shape_of(const uint8_t* differs, int width, Shape* shape) noexcept nogil:
    """The shape in which positions with a ``differs`` of not 0 differ."""
    cdef int i
    cdef bint within = False
    shape.width, shape.differing, shape.runs = width, 0, 0
    for i in range(width):
        if not differs[i]:
            within = False
            continue
        if not within:
            shape.run[shape.runs].start = i
            shape.run[shape.runs].length = 0
            shape.runs += 1
            within = True
        shape.run[shape.runs - 1].length += 1
        shape.differing += 1


cdef inline size_t padded(size_t size) noexcept nogil:
    return (size + STRIDE - 1) // STRIDE * STRIDE


cdef bint encode(const uint8_t* characters, size_t count, int bits, uint8_t* codes) noexcept nogil:
    """Write the codes of ``count`` characters, a multiple of STRIDE; false if one of them has none."""
    cdef const uint8_t* code = CODE[bits]
    cdef size_t at
    cdef int i
    cdef uint8_t c, seen = 0
    cdef uint64_t word
    for at from 0 <= at < count by STRIDE:
        word = 0
        for i in range(STRIDE):
            c = code[characters[at + i]]
            seen |= c
            word = word << bits | c
        for i in range(bits):
            codes[i] = <uint8_t>(word >> 8 * (bits - 1 - i))
        codes += bits
    return not seen & NO_CODE


cdef void decode(const uint8_t* codes, size_t count, int bits, uint8_t* characters) noexcept nogil:
    """Write ``count`` characters, a multiple of STRIDE."""
    cdef const uint8_t* alphabet = <const uint8_t*>ALPHABET[bits]
    cdef size_t at
    cdef int i
    cdef uint64_t word, mask = (1 << bits) - 1
    for at from 0 <= at < count by STRIDE:
        word = 0
        for i in range(bits):
            word = word << 8 | codes[i]
        codes += bits
        for i in range(STRIDE):
            characters[at + i] = alphabet[word >> bits * (STRIDE - 1 - i) & mask]


def pack_texts(tuple values not None):
    """The texts as bytes; None unless they are of one width up to 255 and of the characters above.

    There are 1 to 256 of them, and where all have the same character it may be any in ASCII but NUL.
    """
    cdef const uint8_t* texts[MOST]
    cdef uint8_t[WIDEST] differs
    cdef Py_ssize_t count = len(values), i
    cdef Shape shape
    cdef int width = 0, at
    cdef uint8_t* characters
    cdef size_t total
    if not 0 < count <= MOST:
        raise ValueError(f"{count} texts are none or too many")
    for i in range(count):
        value = values[i]
        if type(value) is not str or not PyUnicode_IS_COMPACT_ASCII(value):
            return None
        texts[i] = <const uint8_t*>PyUnicode_DATA(value)
        if i == 0:
            if PyUnicode_GET_LENGTH(value) > WIDEST:
                return None
            width = <int>PyUnicode_GET_LENGTH(value)
            memset(differs, 0, width)
        elif PyUnicode_GET_LENGTH(value) != width:
            return None
        elif texts[i] != texts[0]:
            for at in range(width):
                differs[at] |= texts[i][at] ^ texts[0][at]
    if memchr(texts[0], 0, width) != NULL:
        return None
    shape_of(differs, width, &shape)
    total = count * shape.differing
    characters = <uint8_t*>PyMem_Malloc(padded(total) + 1)
    if characters == NULL:
        raise MemoryError
    try:
        gather(texts, count, &shape, characters)
        memset(characters + total, ALPHABET[FEWEST_BITS][0], padded(total) - total)
        return coded(texts[0], &shape, characters, total)
    finally:
        PyMem_Free(characters)


cdef void gather(const uint8_t** texts, Py_ssize_t count, const Shape* shape, uint8_t* to) noexcept nogil:
    cdef Py_ssize_t i
    cdef int r
    for i in range(count):
        for r in range(shape.runs):
            memcpy(to, texts[i] + shape.run[r].start, shape.run[r].length)
            to += shape.run[r].length


cdef coded(const uint8_t* text, const Shape* shape, const uint8_t* characters, size_t total):
    """The bytes of texts like ``text`` with the ``total`` differing characters; None if one has no code."""
    cdef int mask = (shape.width + 7) // 8, head = HEAD + mask + shape.width - shape.differing
    cdef int bits = FEWEST_BITS if total else 0, r, i, at = 0
    cdef uint8_t* out
    while True:
        body = PyBytes_FromStringAndSize(NULL, head + padded(total) * bits // 8)
        out = <uint8_t*>PyBytes_AS_STRING(body)
        if total == 0 or encode(characters, padded(total), bits, out + head):
            break
        bits += 1
        if bits > MOST_BITS:
            return None
    out[0], out[1] = shape.width, bits
    memset(out + HEAD, 0, mask)
    for r in range(shape.runs):
        for i in range(shape.run[r].start, shape.run[r].start + shape.run[r].length):
            out[HEAD + i // 8] |= 1 << i % 8
    out += HEAD + mask
    for i in range(shape.width):
        if not differs_at(body, i):
            out[at] = text[i]
            at += 1
    return body[: head + (total * bits + 7) // 8]  # the last stride may have more bytes than are kept


cdef inline bint differs_at(bytes body, int position):
    return PyBytes_AS_STRING(body)[HEAD + position // 8] >> position % 8 & 1


def unpack_texts(bytes body not None, Py_ssize_t count):
    """Read what :func:`pack_texts` wrote of ``count`` texts. Raises ValueError for anything else."""
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef uint8_t[WIDEST + 1] differs
    cdef uint8_t[WIDEST + 1] text
    cdef Shape shape
    cdef int i, bits, mask, width
    if not 0 < count <= MOST:
        raise ValueError(f"{count} texts are none or too many")
    if size < HEAD or size < HEAD + (data[0] + 7) // 8:
        raise ValueError("texts of one width are cut short")
    width, bits, mask = data[0], data[1], (data[0] + 7) // 8
    for i in range(width):
        differs[i] = differs_at(body, i)
    shape_of(differs, width, &shape)
    cdef size_t total = count * shape.differing
    cdef Py_ssize_t head = HEAD + mask + width - shape.differing
    if not (FEWEST_BITS <= bits <= MOST_BITS if total else bits == 0):
        raise ValueError(f"texts of one width in codes of {bits} bits")
    if size != head + <Py_ssize_t>(total * bits + 7) // 8 or width % 8 and data[HEAD + mask - 1] >> width % 8:
        raise ValueError("the length of texts of one width is wrong")
    data += HEAD + mask
    for i in range(width):
        if not differs[i]:
            text[i] = data[0]
            data += 1
            if not 0 < text[i] < 128:
                raise ValueError("texts of one width are not in ASCII")
    cdef uint8_t* characters = <uint8_t*>PyMem_Malloc(2 * padded(total) + 1)
    if characters == NULL:
        raise MemoryError
    try:
        memset(characters + padded(total), 0, padded(total))
        memcpy(characters + padded(total), data, size - head)
        if total:
            decode(characters + padded(total), padded(total), bits, characters)
        for i in range(<int>(padded(total) - total)):
            if characters[total + i] != ALPHABET[FEWEST_BITS][0]:
                raise ValueError("texts of one width end in bits that are not 0")
        return scattered(text, &shape, characters, count)
    finally:
        PyMem_Free(characters)


cdef list scattered(uint8_t* text, const Shape* shape, const uint8_t* characters, Py_ssize_t count):
    """``count`` texts like ``text``, with the differing characters in their places."""
    cdef int r
    cdef list texts = []
    for _ in range(count):
        for r in range(shape.runs):
            memcpy(text + shape.run[r].start, characters, shape.run[r].length)
            characters += shape.run[r].length
        value = PyUnicode_New(shape.width, 127)
        memcpy(PyUnicode_DATA(value), text, shape.width)
        texts.append(value)
    return texts
