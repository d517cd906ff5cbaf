# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Bitmap to annotation text and back: as small as the set is simple, and checked before it is believed.

``docs/codec.md`` has the format, byte by byte. A text is ``g1:`` and the base64 of a frame::

    CRC-32C (4 bytes) | method (1 byte) | run parameters (2 bytes, method 0x80 only) | bit stream

Two paths write and read the same frames: up to ``DENSE_CAPACITY`` offsets as plain bits in C, above it as
intervals of Python integers, because an IPv6 range cannot be laid out bit by bit. The parts, in order:
checksum, base64, bit streams, the choice of method, dense path, wide path, frames.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from whereabouts._bitmap import Bitmap
from whereabouts.errors import WhereaboutsError

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void* PyUnicode_DATA(object text)
    bint PyUnicode_IS_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define LITTLE64(word) __builtin_bswap64(word)
    #define LITTLE32(word) __builtin_bswap32(word)
    #else
    #define LITTLE64(word) (word)
    #define LITTLE32(word) (word)
    #endif

    static inline uint64_t load64(const uint8_t *at) {
        uint64_t word; memcpy(&word, at, 8); return LITTLE64(word);
    }
    static inline uint32_t load32(const uint8_t *at) {
        uint32_t word; memcpy(&word, at, 4); return LITTLE32(word);
    }
    static inline void store64(uint8_t *at, uint64_t word) { word = LITTLE64(word); memcpy(at, &word, 8); }
    static inline void store32(uint8_t *at, uint32_t word) { word = LITTLE32(word); memcpy(at, &word, 4); }

    static inline int bit_length(uint64_t value) { return value ? 64 - __builtin_clzll(value) : 0; }
    static inline int trailing_zeros(uint64_t value) { return __builtin_ctzll(value); }
    static inline int ones(uint64_t word) {
        word -= (word >> 1) & 0x5555555555555555u;
        word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
        return (int)((((word + (word >> 4)) & 0x0F0F0F0F0F0F0F0Fu) * 0x0101010101010101u) >> 56);
    }

    #if defined(__x86_64__)
    #define HAVE_CRC_INSTRUCTION __builtin_cpu_supports("sse4.2")
    __attribute__((target("sse4.2")))
    static uint32_t crc_by_instruction(uint32_t crc, const uint8_t *at, size_t size) {
        uint64_t wide = crc;
        for (; size >= 8; at += 8, size -= 8) wide = __builtin_ia32_crc32di(wide, load64(at));
        for (crc = (uint32_t)wide; size; at++, size--) crc = __builtin_ia32_crc32qi(crc, *at);
        return crc;
    }
    #else
    #define HAVE_CRC_INSTRUCTION 0
    #define crc_by_instruction crc_by_table
    #endif
    """
    uint64_t load64(const uint8_t* at) noexcept nogil
    uint32_t load32(const uint8_t* at) noexcept nogil
    void store64(uint8_t* at, uint64_t word) noexcept nogil
    void store32(uint8_t* at, uint32_t word) noexcept nogil
    int bit_length(uint64_t value) noexcept nogil
    int trailing_zeros(uint64_t value) noexcept nogil
    int ones(uint64_t word) noexcept nogil
    bint HAVE_CRC_INSTRUCTION
    uint32_t crc_by_instruction(uint32_t crc, const uint8_t* at, size_t size) noexcept nogil


class CodecError(WhereaboutsError, ValueError):
    """A text or frame that does not hold a bitmap: damaged, cut short, or made for another capacity."""


TAG = "g1:"
DENSE_CAPACITY = 1 << 24

cdef object WIDEST = 1 << 128
cdef object from_bytes = Bitmap.from_bytes

cdef enum:
    DENSE = 1 << 24    # offsets that are laid out bit by bit: 2 MiB at most
    RAW = 0x00         # methods: the bits as they are,
    HOLES = 0x80       # flag: gaps between free offsets, not between used ones,
    RUNS = 0x80        # alternating run lengths (a HOLES flag with parameter 0 would be RAW inverted)
    FEW = 8192         # offsets a byte: so short a frame is read quicker as intervals than as bits
    HEADER = 5         # checksum and method
    CLASSES = 130      # bit lengths of run lengths: 0 to 128
    SLACK = 8          # bytes behind a frame that the bit writer may scribble on


# ---------------------------------------------------------------------------------------------------------
# Checksum: CRC-32C, eight bytes a step, by the processor's instruction where there is one

cdef uint32_t CRC[8][256]


cdef void make_crc_tables() noexcept:
    cdef uint32_t i, crc
    cdef int _, slice
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        CRC[0][i] = crc
    for slice in range(1, 8):
        for i in range(256):
            CRC[slice][i] = (CRC[slice - 1][i] >> 8) ^ CRC[0][CRC[slice - 1][i] & 255]


cdef uint32_t crc_by_table(uint32_t crc, const uint8_t* at, size_t size) noexcept nogil:
    cdef uint32_t low, high
    while size >= 8:
        low = load32(at) ^ crc
        high = load32(at + 4)
        crc = (
            CRC[7][low & 255] ^ CRC[6][(low >> 8) & 255] ^ CRC[5][(low >> 16) & 255] ^ CRC[4][low >> 24]
            ^ CRC[3][high & 255] ^ CRC[2][(high >> 8) & 255] ^ CRC[1][(high >> 16) & 255] ^ CRC[0][high >> 24]
        )
        at += 8
        size -= 8
    while size:
        crc = (crc >> 8) ^ CRC[0][(crc ^ at[0]) & 255]
        at += 1
        size -= 1
    return crc


cdef uint32_t (*crc_step)(uint32_t, const uint8_t*, size_t) noexcept nogil

make_crc_tables()
crc_step = crc_by_instruction if HAVE_CRC_INSTRUCTION else crc_by_table


cdef uint32_t checksum(const uint8_t* body, size_t size, object capacity):
    """CRC-32C of the body and of ``capacity - 1`` as 16 bytes: a frame read for another capacity fails."""
    cdef uint8_t[16] last
    cdef int overflow
    cdef long long narrow = PyLong_AsLongLongAndOverflow(capacity, &overflow)
    if overflow:
        store64(last, (capacity - 1) & 0xFFFFFFFFFFFFFFFF)
        store64(last + 8, (capacity - 1) >> 64)
    else:
        store64(last, narrow - 1)
        store64(last + 8, 0)
    return ~crc_step(crc_step(0xFFFFFFFF, body, size), last, 16)


def _crc32c(const uint8_t[::1] data, bint portable):
    """The two implementations, side by side, for the tests."""
    return ~(crc_by_table if portable else crc_step)(0xFFFFFFFF, &data[0], data.shape[0])


# ---------------------------------------------------------------------------------------------------------
# Base64: RFC 4648 section 4, with padding, and with the rule of its section 3.5 (unused bits are zero)

cdef const char* ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
cdef uint8_t PAIR[4096][2]        # two characters for twelve bits
cdef uint32_t SEXTET[4][256]      # a character's six bits, in place for each position of a quartet
cdef uint32_t NOT_BASE64 = 1 << 24


cdef void make_base64_tables() noexcept:
    cdef int i, place
    for i in range(4096):
        PAIR[i][0] = ALPHABET[i >> 6]
        PAIR[i][1] = ALPHABET[i & 63]
    for place in range(4):
        for i in range(256):
            SEXTET[place][i] = NOT_BASE64
        for i in range(64):
            SEXTET[place][<uint8_t>ALPHABET[i]] = <uint32_t>i << (18 - 6 * place)


make_base64_tables()


cdef void to_base64(const uint8_t* data, size_t size, uint8_t* text) noexcept nogil:
    cdef size_t whole = size - size % 3, i
    cdef uint32_t bits
    for i from 0 <= i < whole by 3:
        bits = (<uint32_t>data[i] << 16) | (<uint32_t>data[i + 1] << 8) | data[i + 2]
        memcpy(text, PAIR[bits >> 12], 2)
        memcpy(text + 2, PAIR[bits & 4095], 2)
        text += 4
    if whole < size:
        bits = <uint32_t>data[whole] << 16
        if size - whole == 2:
            bits |= <uint32_t>data[whole + 1] << 8
        memcpy(text, PAIR[bits >> 12], 2)
        text[2] = PAIR[bits & 4095][0] if size - whole == 2 else 61
        text[3] = 61


cdef inline uint32_t quartet(const uint8_t* text) noexcept nogil:
    return SEXTET[0][text[0]] | SEXTET[1][text[1]] | SEXTET[2][text[2]] | SEXTET[3][text[3]]


cdef Py_ssize_t from_base64(const uint8_t* text, size_t length, uint8_t* data) noexcept nogil:
    """Bytes written to ``data``, which has room for ``length``, or -1 when it is not base64."""
    cdef size_t padding, i, whole
    cdef uint32_t bits, seen = 0
    cdef uint8_t[4] tail
    if length == 0 or length % 4:
        return -1
    padding = (text[length - 1] == 61) + (text[length - 1] == 61 and text[length - 2] == 61)
    whole = length - 4
    for i from 0 <= i < whole by 4:
        bits = quartet(text + i)
        seen |= bits
        data[0] = bits >> 16
        data[1] = bits >> 8
        data[2] = bits
        data += 3
    memcpy(tail, text + whole, 4)
    if padding:
        memset(tail + 4 - padding, 65, padding)
    bits = quartet(tail)
    if (seen | bits) & NOT_BASE64 or bits & ((1 << 8 * padding) - 1):
        return -1
    for i in range(3 - padding):
        data[i] = bits >> (16 - 8 * i)
    return <Py_ssize_t>(length // 4 * 3 - padding)


# ---------------------------------------------------------------------------------------------------------
# Bit streams: bit i is bit i % 8 of byte i // 8, for bitmaps and payloads alike

cdef struct Bits:
    const uint8_t* data
    uint64_t size      # bytes; all bits behind them read as zero


cdef inline uint64_t word_at(const Bits* bits, uint64_t byte) noexcept nogil:
    cdef uint64_t word = 0, i
    if byte + 8 <= bits.size:
        return load64(bits.data + byte)
    for i in range(byte, bits.size):
        word |= <uint64_t>bits.data[i] << 8 * (i - byte)
    return word


cdef inline uint64_t window(const Bits* bits, uint64_t at) noexcept nogil:
    """The bits from ``at`` on; 57 of them are certain to be there."""
    return word_at(bits, at >> 3) >> (at & 7)


cdef inline uint64_t skip_same(const Bits* bits, uint64_t byte, uint64_t same) noexcept nogil:
    """Go on from ``byte`` while whole strides of 32 bytes are the word ``same``, all zeros or all ones."""
    cdef const uint8_t* data = bits.data
    while byte + 32 <= bits.size and not (
        (load64(data + byte) ^ same) | (load64(data + byte + 8) ^ same)
        | (load64(data + byte + 16) ^ same) | (load64(data + byte + 24) ^ same)
    ):
        byte += 32
    return byte


cdef inline uint64_t next_bit(const Bits* bits, uint64_t at, uint64_t flip) noexcept nogil:
    """Lowest one at or after ``at`` (``flip`` = 0; past the end if there is none), or lowest zero (~0)."""
    cdef uint64_t byte = at >> 3, word = (word_at(bits, byte) ^ flip) >> (at & 7)
    if word:
        return at + trailing_zeros(word)
    while True:
        byte = skip_same(bits, byte + 8, flip)
        if byte >= bits.size and not flip:
            return 8 * byte
        word = word_at(bits, byte) ^ flip
        if word:
            return 8 * byte + trailing_zeros(word)


cdef struct Writer:
    uint8_t* at
    uint64_t pending   # the bits that do not fill a byte yet
    int fill           # how many those are


cdef inline void put(Writer* writer, uint64_t value, int width) noexcept nogil:
    """Append the low ``width`` bits, 56 at most. Up to eight bytes from ``writer.at`` on are overwritten."""
    writer.pending |= value << writer.fill
    writer.fill += width
    store64(writer.at, writer.pending)
    writer.at += writer.fill >> 3
    writer.pending >>= writer.fill & ~7
    writer.fill &= 7


cdef inline void put_zeros(Writer* writer, uint64_t count) noexcept nogil:
    while count > 56:
        put(writer, 0, 56)
        count -= 56
    put(writer, 0, <int>count)


cdef inline void put_gap(Writer* quotients, Writer* rests, uint64_t gap, int k) noexcept nogil:
    """Rice code in two streams: ``gap >> k`` zeros and a one; the low ``k`` bits (56 at most)."""
    cdef uint64_t quotient = gap >> k
    if quotient < 56:
        put(quotients, <uint64_t>1 << quotient, <int>quotient + 1)
    else:
        put_zeros(quotients, quotient)
        put(quotients, 1, 1)
    put(rests, gap & ((<uint64_t>1 << k) - 1), k)


cdef inline void put_run(Writer* writer, uint64_t value, int k) noexcept nogil:
    """Gamma code with floor k: below 2**k a one and k bits; else a zero for each further bit of length."""
    cdef int length = bit_length(value)
    if length <= k:
        put(writer, 2 * value + 1, k + 1)
    else:
        put_zeros(writer, length - k)
        put(writer, 1, 1)
        put(writer, value ^ (<uint64_t>1 << (length - 1)), length - 1)


# ---------------------------------------------------------------------------------------------------------
# The choice of method, by exact size in bytes

cdef struct Survey:
    uint64_t limit         # highest used offset + 1: what is behind it is free and costs nothing
    uint64_t runs          # maximal intervals of used offsets
    uint64_t gaps          # codes of the gap method
    bint holes             # gaps lie between free offsets (the rarer kind), not between used ones
    bint try_gaps, try_runs
    int k                  # the lowest of the three Rice parameters that are tried
    uint64_t[3] quotients  # the sums of all gaps' quotients for these three
    uint64_t[CLASSES] free_lengths   # how many free and used runs have a length of so many bits
    uint64_t[CLASSES] used_lengths


cdef struct Plan:
    uint8_t method
    uint8_t k_free, k_used     # run method
    uint64_t gaps, quotients   # gap method: codes, and bytes of their quotients
    uint64_t size              # all bytes behind the method


cdef void limit_search(Survey* survey, int mean_length) noexcept nogil:
    """Leave out what cannot win: most sets are simple, and looking at a set twice costs time.

    Where two fifths of the offsets are of either kind, a gap costs more than the raw bits, unless runs are
    long. Where runs are short, or mostly single offsets, their lengths cost more than gaps.
    ``mean_length`` is the bit length of the mean gap; the best Rice parameter is near its logarithm.
    """
    survey.try_gaps = 5 * survey.gaps < 2 * survey.limit
    survey.try_runs = (16 * survey.runs <= survey.limit
                       or 8 * survey.runs <= survey.limit and 2 * survey.gaps >= 3 * survey.runs)
    survey.k = max(1, min(mean_length - 2, 125))


cdef inline uint64_t bytes_for(uint64_t bits) noexcept nogil:
    return (bits + 7) >> 3


cdef inline uint64_t varint_size(uint64_t value) noexcept nogil:
    return max(1, (bit_length(value) + 6) // 7)


cdef uint64_t run_bits(const uint64_t* lengths, int classes, int k) noexcept nogil:
    cdef uint64_t bits = 0
    cdef int length
    for length in range(classes):
        bits += lengths[length] * (1 + k if length <= k else 2 * length - k)
    return bits


cdef uint64_t best_run_parameter(const uint64_t* lengths, int classes, uint8_t* best) noexcept nogil:
    cdef uint64_t least = run_bits(lengths, classes, 0), bits
    cdef int k
    best[0] = 0
    for k in range(1, classes - 1):
        bits = run_bits(lengths, classes, k)
        if bits < least:
            least = bits
            best[0] = k
    return least


cdef Plan choose(const Survey* survey, int classes) noexcept nogil:
    """The smallest of raw bits, gaps and runs; when equal the earlier, and the smaller parameter."""
    cdef Plan plan = Plan(RAW, 0, 0, 0, 0, bytes_for(survey.limit))
    cdef uint8_t k_free, k_used
    cdef uint64_t bits, quotients, size
    cdef int i
    for i in range(3 if survey.try_gaps else 0):
        quotients = bytes_for(survey.gaps + survey.quotients[i])
        size = varint_size(survey.gaps) + quotients + bytes_for(survey.gaps * (survey.k + i))
        if size < plan.size:
            plan = Plan((HOLES if survey.holes else 0) | (survey.k + i), 0, 0, survey.gaps, quotients, size)
    if survey.try_runs:
        bits = best_run_parameter(survey.free_lengths, classes, &k_free)
        bits += best_run_parameter(survey.used_lengths, classes, &k_used)
        if 2 + bytes_for(bits) < plan.size:
            plan = Plan(RUNS, k_free, k_used, 0, 0, 2 + bytes_for(bits))
    return plan


# ---------------------------------------------------------------------------------------------------------
# Frames and readers, common to both paths

cdef struct Frame:
    uint8_t* data      # to be freed by the caller
    size_t size
    Writer stream      # runs, or the quotients of gaps
    Writer rests       # of gaps: SLACK bytes behind their place, out of the other writer's reach


cdef Frame open_frame(const Plan* plan) except *:
    """A frame with its header in place and its writers where their streams begin."""
    cdef Frame frame
    cdef uint64_t count = plan.gaps
    cdef uint8_t* at
    frame.size = HEADER + plan.size
    frame.data = at = <uint8_t*>PyMem_Malloc(frame.size + 2 * SLACK)
    if not frame.data:
        raise MemoryError
    at[4] = plan.method
    at += HEADER
    if plan.method == RUNS:
        at[0] = plan.k_free
        at[1] = plan.k_used
        at += 2
    elif plan.method != RAW:
        while count > 127:
            at[0] = count | 128
            at += 1
            count >>= 7
        at[0] = count
        at += 1
    frame.stream = Writer(at, 0, 0)
    frame.rests = Writer(at + plan.quotients + SLACK, 0, 0)
    return frame


cdef void close_frame(Frame* frame, const Plan* plan, object capacity):
    """Move the rests to their place, and seal the frame."""
    cdef size_t header
    cdef uint8_t* rests
    if plan.gaps:
        header = HEADER + varint_size(plan.gaps)
        rests = frame.data + header + plan.quotients
        memmove(rests, rests + SLACK, frame.size - header - plan.quotients)
    store32(frame.data, checksum(frame.data + 4, frame.size - 4, capacity))


cdef struct Reader:
    Bits stream
    uint64_t at        # the next bit


cdef past_capacity():
    return CodecError("the frame holds offsets that the capacity does not have: it belongs to another range")


cdef unfit():
    return CodecError("a parameter of the frame does not fit the capacity: it was not written by this codec")


cdef miscounted():
    return CodecError("the frame has another number of gaps than it says: it was not written by this codec")


cdef cut_short():
    return CodecError("the frame ends inside a code: it was cut short")


cdef inline bint at_end(const Reader* reader) noexcept:
    """Whether only padding is left: fewer than eight bits, all zero."""
    return 8 * reader.stream.size - reader.at < 8 and not window(&reader.stream, reader.at)


cdef inline uint64_t read_zeros(Reader* reader) except? 0xFFFFFFFFFFFFFFFF:
    """How many zeros come before the next one, which is consumed too."""
    cdef uint64_t one = next_bit(&reader.stream, reader.at, 0), zeros = one - reader.at
    if one >= 8 * reader.stream.size:
        raise cut_short()
    reader.at = one + 1
    return zeros


cdef inline uint64_t read_bits(Reader* reader, int width) except? 0xFFFFFFFFFFFFFFFF:
    """The next ``width`` bits, 56 at most."""
    cdef uint64_t value = window(&reader.stream, reader.at) & ((<uint64_t>1 << width) - 1)
    reader.at += width
    if reader.at > 8 * reader.stream.size:
        raise cut_short()
    return value


cdef uint64_t raw_limit(const Bits* stream) except? 0xFFFFFFFFFFFFFFFF:
    """Highest one of raw bits or of quotients, plus one."""
    if stream.size == 0:
        return 0
    if stream.data[stream.size - 1] == 0:
        raise CodecError("the bits end in a byte of zeros: the frame was not written by this codec")
    return 8 * (stream.size - 1) + bit_length(stream.data[stream.size - 1])


cdef Reader run_reader(const Bits* body, int most) except *:
    if body.size < 2:
        raise cut_short()
    if body.data[0] > most or body.data[1] > most:
        raise unfit()
    return Reader(Bits(body.data + 2, body.size - 2), 0)


cdef struct Gaps:
    uint64_t count
    Bits quotients     # as many ones as there are gaps, each after as many zeros as its quotient
    Bits rests         # k bits a gap
    int k


cdef Gaps split_gaps(const Bits* body, int k, int most) except *:
    cdef Gaps gaps
    cdef uint64_t at = 0, rests
    if k > most:
        raise unfit()
    gaps.k = k
    gaps.count = 0
    while True:
        if at == body.size or at == 9:
            raise cut_short()
        gaps.count |= <uint64_t>(body.data[at] & 127) << 7 * at
        at += 1
        if body.data[at - 1] < 128:
            break
    if gaps.count == 0 or gaps.count > 8 * body.size or varint_size(gaps.count) != at:
        raise miscounted()
    rests = bytes_for(gaps.count * k)
    if at + rests > body.size:
        raise cut_short()
    gaps.quotients = Bits(body.data + at, body.size - at - rests)
    gaps.rests = Bits(body.data + body.size - rests, rests)
    if raw_limit(&gaps.quotients) < gaps.count or window(&gaps.rests, gaps.count * k):
        raise miscounted()
    return gaps


# ---------------------------------------------------------------------------------------------------------
# Dense path: plain bits

cdef uint64_t count_dense(const Bits* bits, Survey* survey) noexcept nogil:
    """How many offsets are used; limit and runs are noted."""
    cdef uint64_t byte = 0, word, carry = 0, used = 0, same
    while byte < bits.size:
        word = word_at(bits, byte)
        used += ones(word)
        survey.runs += ones(word & ~((word << 1) | carry))
        carry = word >> 63
        if word:
            survey.limit = 8 * byte + bit_length(word)
        byte += 8
        if word + carry == 0:
            same = skip_same(bits, byte, word)
            used += carry * 8 * (same - byte)
            byte = same
            if word:
                survey.limit = 8 * byte
    return used


cdef void survey_gaps(const Bits* bits, Survey* survey) noexcept nogil:
    cdef uint64_t flip = ~<uint64_t>0 if survey.holes else 0, end = survey.limit + survey.holes
    cdef uint64_t byte = 0, word, at, next = 0, sum0 = 0, sum1 = 0, sum2 = 0
    cdef int k = survey.k
    while next < end:
        word = word_at(bits, byte) ^ flip
        if not word:
            byte = skip_same(bits, byte + 8, flip)
            continue
        while word and next < end:
            at = 8 * byte + trailing_zeros(word)
            sum0 += (at - next) >> k
            sum1 += (at - next) >> (k + 1)
            sum2 += (at - next) >> (k + 2)
            next = at + 1
            word &= word - 1
        byte += 8
    survey.quotients = [sum0, sum1, sum2]


cdef void survey_runs(const Bits* bits, Survey* survey) noexcept nogil:
    cdef uint64_t at = 0, start, stop
    while at < survey.limit:
        start = next_bit(bits, at, 0)
        stop = next_bit(bits, start + 1, ~<uint64_t>0)
        survey.free_lengths[bit_length(start - at)] += 1
        survey.used_lengths[bit_length(stop - start - 1)] += 1
        at = stop + 1


cdef Plan plan_dense(const Bits* bits, Survey* survey) noexcept nogil:
    cdef uint64_t used, holes
    memset(survey, 0, sizeof(Survey))
    used = count_dense(bits, survey)
    if not used:
        return Plan(RAW, 0, 0, 0, 0, 0)
    holes = survey.limit - used + 1
    survey.holes = holes < used
    survey.gaps = holes if survey.holes else used
    limit_search(survey, bit_length((survey.limit + survey.holes - survey.gaps) // survey.gaps))
    if survey.try_gaps:
        survey_gaps(bits, survey)
    if survey.try_runs:
        survey_runs(bits, survey)
    return choose(survey, bit_length(survey.limit) + 1)


cdef void write_gaps(const Bits* bits, const Survey* survey, int k, Frame* frame) noexcept nogil:
    cdef uint64_t flip = ~<uint64_t>0 if survey.holes else 0, end = survey.limit + survey.holes
    cdef uint64_t byte = 0, word, at, next = 0
    cdef Writer quotients = frame.stream, rests = frame.rests
    while next < end:
        word = word_at(bits, byte) ^ flip
        if not word:
            byte = skip_same(bits, byte + 8, flip)
            continue
        while word and next < end:
            at = 8 * byte + trailing_zeros(word)
            put_gap(&quotients, &rests, at - next, k)
            next = at + 1
            word &= word - 1
        byte += 8


cdef void write_runs(const Bits* bits, const Survey* survey, const Plan* plan, Frame* frame) noexcept nogil:
    cdef uint64_t at = 0, start, stop
    while at < survey.limit:
        start = next_bit(bits, at, 0)
        stop = next_bit(bits, start + 1, ~<uint64_t>0)
        put_run(&frame.stream, start - at, plan.k_free)
        put_run(&frame.stream, stop - start - 1, plan.k_used)
        at = stop + 1


cdef Frame encode_dense(const uint8_t* data, size_t size, object capacity) except *:
    cdef Bits bits = Bits(data, size)
    cdef Survey survey
    cdef Plan plan = plan_dense(&bits, &survey)
    cdef Frame frame = open_frame(&plan)
    if plan.method == RAW:
        memcpy(frame.stream.at, data, plan.size)
    elif plan.method == RUNS:
        write_runs(&bits, &survey, &plan, &frame)
    else:
        write_gaps(&bits, &survey, plan.method & ~HOLES, &frame)
    close_frame(&frame, &plan, capacity)
    return frame


cdef void fill(uint8_t* out, uint64_t start, uint64_t stop) noexcept nogil:
    """Set the bits start <= bit < stop."""
    cdef uint64_t first = start >> 3, last = stop >> 3
    cdef uint8_t head = 0xFF << (start & 7), tail = (1 << (stop & 7)) - 1
    if first == last:
        out[first] |= head & tail
        return
    out[first] |= head
    memset(out + first + 1, 0xFF, last - first - 1)
    if tail:
        out[last] |= tail


cdef void invert(uint8_t* out, uint64_t limit, uint64_t capacity) noexcept nogil:
    """Flip the bits below ``limit``, and clear the one at ``limit``, if there is one."""
    cdef uint64_t byte
    for byte in range(limit >> 3):
        out[byte] = ~out[byte]
    if limit < capacity or limit & 7:
        out[limit >> 3] = ~out[limit >> 3] & ((1 << (limit & 7)) - 1)


cdef int read_raw(const Bits* stream, uint8_t* out, uint64_t capacity) except -1:
    if raw_limit(stream) > capacity:
        raise past_capacity()
    memcpy(out, stream.data, stream.size)
    return 0


cdef int read_gaps(const Gaps* gaps, bint holes, uint8_t* out, uint64_t capacity) except -1:
    cdef uint64_t byte = 0, word, seen = 0, sum = 0, at = 0, end = capacity + holes
    cdef uint64_t mask = (<uint64_t>1 << gaps.k) - 1
    while byte < gaps.quotients.size:
        word = word_at(&gaps.quotients, byte)
        while word:
            sum += window(&gaps.rests, seen * gaps.k) & mask
            at = ((8 * byte + trailing_zeros(word) - seen) << gaps.k) + sum + seen
            if at >= end:
                raise past_capacity()
            if at < capacity:
                out[at >> 3] |= <uint8_t>1 << (at & 7)
            seen += 1
            word &= word - 1
        byte += 8
    if seen != gaps.count:
        raise miscounted()
    if holes:
        invert(out, at, capacity)
    return 0


cdef inline uint64_t read_run(Reader* reader, int k, uint64_t capacity) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t zeros = read_zeros(reader)
    if zeros == 0:
        return read_bits(reader, k)
    if zeros + k > <uint64_t>bit_length(capacity):
        raise past_capacity()
    return (<uint64_t>1 << (zeros + k - 1)) | read_bits(reader, <int>zeros + k - 1)


cdef int read_runs(Reader* reader, int k_free, int k_used, uint8_t* out, uint64_t capacity) except -1:
    cdef uint64_t at = 0, start, length
    while not at_end(reader):
        start = at + read_run(reader, k_free, capacity)
        length = read_run(reader, k_used, capacity) + 1
        if start + length > capacity:
            raise past_capacity()
        fill(out, start, start + length)
        at = start + length + 1
    return 0


cdef decode_dense(const Bits* body, uint8_t method, uint64_t capacity, object python_capacity):
    cdef Py_ssize_t size = bytes_for(capacity)
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size)
    cdef uint8_t* out = <uint8_t*>PyBytes_AS_STRING(data)
    cdef int most = bit_length(capacity)
    cdef Reader reader
    cdef Gaps gaps
    memset(out, 0, size)
    if method == RAW:
        read_raw(body, out, capacity)
    elif method == RUNS:
        reader = run_reader(body, most)
        read_runs(&reader, body.data[0], body.data[1], out, capacity)
    else:
        gaps = split_gaps(body, method & ~HOLES, most)
        read_gaps(&gaps, method >= HOLES, out, capacity)
    return from_bytes(data, python_capacity)


# ---------------------------------------------------------------------------------------------------------
# Wide path: intervals of Python integers; the same frames, whatever the lengths

cdef enum:
    PIECE = 32         # bits of a long number that are put or read at once

cdef uint64_t UNPAYABLE = <uint64_t>1 << 50   # what a cost or a count is taken for when it is greater


cdef uint64_t payable(object number):
    return min(number, UNPAYABLE)


cdef Plan plan_wide(list runs, Survey* survey) except *:
    cdef object limit = runs[len(runs) - 1][1] if runs else 0
    cdef object used = sum([stop - start for start, stop in runs])
    cdef object holes = limit - used + 1, gaps = min(used, holes), at = 0, before = 0
    cdef list quotients = [0, 0, 0]
    memset(survey, 0, sizeof(Survey))
    if not runs:
        return Plan(RAW, 0, 0, 0, 0, 0)
    survey.limit = payable(limit)
    survey.runs = len(runs)
    survey.gaps = payable(gaps)
    survey.holes = holes < used
    limit_search(survey, ((limit + survey.holes - gaps) // gaps).bit_length())
    for start, stop in runs:
        survey.free_lengths[<int>(start - at).bit_length()] += 1
        survey.used_lengths[<int>(stop - start - 1).bit_length()] += 1
        gap = stop - start if survey.holes else start - before
        quotients = [quotients[i] + (gap >> (survey.k + i)) for i in range(3)]
        at, before = stop + 1, stop
    for i in range(3):
        survey.quotients[i] = payable(quotients[i])
    return choose(survey, <int>limit.bit_length() + 1)


cdef object power(int exponent):
    """2**exponent as a Python integer; ``1 << exponent`` would be a C one."""
    return <object>1 << exponent


cdef void put_long(Writer* writer, object value, int width):
    while width > PIECE:
        put(writer, value & 0xFFFFFFFF, PIECE)
        value >>= PIECE
        width -= PIECE
    put(writer, value, width)


cdef void put_long_gap(Frame* frame, object gap, int k):
    put_zeros(&frame.stream, gap >> k)
    put(&frame.stream, 1, 1)
    put_long(&frame.rests, gap & (power(k) - 1), k)


cdef void put_neighbours(Frame* frame, uint64_t count, int k) noexcept nogil:
    """``count`` gaps of length zero."""
    while count:
        put(&frame.stream, 1, 1)
        put_zeros(&frame.rests, k)
        count -= 1


cdef void put_long_run(Writer* writer, object value, int k):
    cdef int length = value.bit_length()
    if length > k:
        put_zeros(writer, length - k)
    put(writer, 1, 1)
    if length > k:
        put_long(writer, value - power(length - 1), length - 1)
    else:
        put_long(writer, value, k)


cdef void write_wide_raw(list runs, Frame* frame):
    cdef uint64_t at = 0, start, stop
    for start, stop in runs:
        put_zeros(&frame.stream, start - at)
        for _ in range(start, stop):
            put(&frame.stream, 1, 1)
        at = stop


cdef void write_wide_runs(list runs, const Plan* plan, Frame* frame):
    cdef object at = 0
    for start, stop in runs:
        put_long_run(&frame.stream, start - at, plan.k_free)
        put_long_run(&frame.stream, stop - start - 1, plan.k_used)
        at = stop + 1


cdef void write_wide_gaps(list runs, int k, Frame* frame):
    """Gaps between the offsets of the intervals."""
    cdef object at = 0
    for start, stop in runs:
        put_long_gap(frame, start - at, k)
        put_neighbours(frame, stop - start - 1, k)
        at = stop


cdef list between(list intervals):
    """What lies before and between the intervals, and one offset behind them."""
    cdef list gaps = []
    cdef object at = 0
    for start, stop in intervals:
        if start > at:
            gaps.append((at, start))
        at = stop
    gaps.append((at, at + 1))
    return gaps


cdef Frame encode_wide(list runs, object capacity) except *:
    cdef Survey survey
    cdef Plan plan = plan_wide(runs, &survey)
    cdef Frame frame = open_frame(&plan)
    if plan.method == RAW:
        write_wide_raw(runs, &frame)
    elif plan.method == RUNS:
        write_wide_runs(runs, &plan, &frame)
    else:
        write_wide_gaps(between(runs) if plan.method & HOLES else runs, plan.method & ~HOLES, &frame)
    close_frame(&frame, &plan, capacity)
    return frame


cdef object read_long(Reader* reader, int width):
    cdef object value = 0, piece
    cdef int place = 0
    while place < width:
        piece = read_bits(reader, min(PIECE, width - place))
        value |= piece << place
        place += PIECE
    return value


cdef object read_long_run(Reader* reader, int k, int most):
    cdef uint64_t zeros = read_zeros(reader)
    if zeros == 0:
        return read_long(reader, k)
    if zeros + k > <uint64_t>most:
        raise past_capacity()
    return power(<int>zeros + k - 1) | read_long(reader, <int>zeros + k - 1)


cdef int read_wide_raw(const Bits* stream, object bitmap, object capacity) except -1:
    cdef uint64_t limit = raw_limit(stream), at = 0, start
    if limit > capacity:
        raise past_capacity()
    while at < limit:
        start = next_bit(stream, at, 0)
        at = next_bit(stream, start, ~<uint64_t>0)
        bitmap.set_range(start, at)
    return 0


cdef list read_wide_gaps(const Gaps* gaps, object end):
    """The offsets between which the gaps lie, neighbours joined to intervals; all below ``end``."""
    cdef Reader quotients = Reader(gaps.quotients, 0), rests = Reader(gaps.rests, 0)
    cdef object at = 0, since = 0, gap
    cdef list intervals = []
    cdef uint64_t left = gaps.count
    while left:
        gap = (<object>read_zeros(&quotients) << gaps.k) | read_long(&rests, gaps.k)
        if gap:
            if at > since:
                intervals.append((since, at))
            since = at + gap
        at += gap + 1
        if at > end:
            raise past_capacity()
        left -= 1
    if not at_end(&quotients):
        raise miscounted()
    intervals.append((since, at))
    return intervals


cdef int read_wide_runs(Reader* reader, int k_free, int k_used, object bitmap, object capacity) except -1:
    cdef object at = 0
    cdef int most = capacity.bit_length()
    while not at_end(reader):
        start = at + read_long_run(reader, k_free, most)
        stop = start + 1 + read_long_run(reader, k_used, most)
        if stop > capacity:
            raise past_capacity()
        bitmap.set_range(start, stop)
        at = stop + 1
    return 0


cdef decode_wide(const Bits* body, uint8_t method, object capacity):
    cdef object bitmap = Bitmap(capacity)
    cdef int most = capacity.bit_length()
    cdef Reader reader
    cdef Gaps gaps
    if method == RAW:
        read_wide_raw(body, bitmap, capacity)
    elif method == RUNS:
        reader = run_reader(body, most)
        read_wide_runs(&reader, body.data[0], body.data[1], bitmap, capacity)
    else:
        gaps = split_gaps(body, method & ~HOLES, most)
        if method & HOLES:
            intervals = between(read_wide_gaps(&gaps, capacity + 1))
            intervals.pop()
        else:
            intervals = read_wide_gaps(&gaps, capacity)
        for start, stop in intervals:
            bitmap.set_range(start, stop)
    return bitmap


# ---------------------------------------------------------------------------------------------------------
# What Python sees

cdef Frame encode_frame(object bitmap) except *:
    cdef object capacity
    cdef bytes data
    if not isinstance(bitmap, Bitmap):
        raise TypeError(f"a Bitmap is encoded, not {type(bitmap).__name__}")
    capacity = bitmap.capacity
    if capacity > DENSE:
        return encode_wide(list(bitmap.runs()), capacity)
    data = bitmap.to_bytes()
    return encode_dense(<uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), capacity)


cdef decode_frame(const uint8_t* frame, size_t size, object capacity):
    cdef Bits body
    cdef int overflow
    cdef long long narrow = PyLong_AsLongLongAndOverflow(capacity, &overflow)
    if overflow < 0 or not overflow and narrow < 1 or overflow and capacity > WIDEST:
        raise ValueError(f"capacity must be from 1 to 2**128 offsets, not {capacity}")
    if size < HEADER:
        raise CodecError(f"{size} bytes are too few: checksum and method alone take {HEADER}")
    if load32(frame) != checksum(frame + 4, size - 4, capacity):
        raise CodecError(f"the checksum fails: damaged, or written for another capacity than {capacity}")
    body = Bits(frame + HEADER, size - HEADER)
    if overflow or narrow > DENSE or <uint64_t>narrow > FEW * body.size:
        return decode_wide(&body, frame[4], capacity)
    return decode_dense(&body, frame[4], narrow, capacity)


def encode_bytes(bitmap):
    """The frame of a bitmap: checksum, method, bit stream. Equal sets of equal capacity give equal frames."""
    cdef Frame frame = encode_frame(bitmap)
    try:
        return PyBytes_FromStringAndSize(<char*>frame.data, frame.size)
    finally:
        PyMem_Free(frame.data)


def decode_bytes(bytes frame not None, capacity):
    """The bitmap of ``capacity`` offsets that a frame holds; ``CodecError`` for every other input."""
    return decode_frame(<uint8_t*>PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame), capacity)


def encode(bitmap):
    """The text of a bitmap, for an annotation: ``g1:`` and base64, in ASCII."""
    cdef Frame frame = encode_frame(bitmap)
    cdef str text
    try:
        text = PyUnicode_New(3 + (frame.size + 2) // 3 * 4, 127)
        memcpy(PyUnicode_DATA(text), "g1:", 3)
        to_base64(frame.data, frame.size, <uint8_t*>PyUnicode_DATA(text) + 3)
        return text
    finally:
        PyMem_Free(frame.data)


def decode(str text not None, capacity):
    """The bitmap of ``capacity`` offsets that a text holds; ``CodecError`` for every other text.

    Work and memory are bounded by the text's length and by what the caller's capacity allows, whatever the
    text claims.
    """
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text), size
    cdef const uint8_t* chars = <const uint8_t*>PyUnicode_DATA(text)
    cdef uint8_t* frame
    if not PyUnicode_IS_ASCII(text) or length < 3 or memcmp(chars, "g1:", 3):
        raise CodecError(f"not a bitmap of a known codec: it begins with {text[:8]!a} and not with {TAG!r}")
    frame = <uint8_t*>PyMem_Malloc(length)
    if not frame:
        raise MemoryError
    try:
        size = from_base64(chars + 3, length - 3, frame)
        if size < 0:
            raise CodecError("not base64 in its canonical form: damaged, cut short, or with something added")
        return decode_frame(frame, size, capacity)
    finally:
        PyMem_Free(frame)
