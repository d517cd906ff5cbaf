# cython: language_level=3, binding=False, always_allow_keywords=False, embedsignature=True
# cython: auto_pickle=False
"""Sets of used offsets: which addresses of a block, a range or all of IPv6 are taken.

A set is a tree of 64-way nodes over 64-bit words. A node of level 1 holds words, a node above holds
nodes, and both kinds see their 64 slots alike: a slot is EMPTY (0), FULL (all ones), or holds a word or
a child that is neither. Only the last kind is stored, so that an untouched or a full region costs one bit
in the node above it, however large it is. ``docs/engine.md`` has the picture and the reasons.

Two rules keep it safe, and every function here relies on them:

* the tree is canonical (``settle``): no node is all empty or all full, and none has a single child only;
* no Python code runs while a pointer into the tree is held: arguments are read first, objects built last.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_CONTIG, PyBUF_SIMPLE, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_Occurred
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_FromUnsignedLongLong
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.number cimport PyNumber_Index
from cpython.sequence cimport PySequence_GetItem
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy, memmove, memset


cdef extern from *:
    """
    #if !defined(__SIZEOF_INT128__)
    #error "whereabouts needs a compiler with 128-bit integers: GCC or Clang for a 64-bit machine"
    #endif
    __extension__ typedef unsigned __int128 u128;

    typedef struct Node {
        u128 place;        /* first offset of the span, a multiple of 4096; below: see LEVEL, WIDE, ROOM */
        uint64_t full;     /* slots whose offsets are all used */
        uint64_t body[];   /* wide: 64 slots; compact: mask of the stored slots, then those in order */
    } Node;

    #define NODE_BYTES(entries) (offsetof(Node, body) + 8 * (size_t)(entries))

    static inline u128 lesser(u128 one, u128 other) { return one < other ? one : other; }
    static inline u128 greater(u128 one, u128 other) { return one > other ? one : other; }
    static inline int lowest_bit(uint64_t word) { return __builtin_ctzll(word); }

    static inline int bit_length(u128 number) {
        uint64_t high = (uint64_t)(number >> 64), low = (uint64_t)number;
        return high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
    }

    /* Without -mpopcnt the builtin is a call of a table look-up; this is a dozen instructions, inlined. */
    static inline int bit_count(uint64_t word) {
        if ((word & (word - 1)) == 0) return word != 0;
        word -= (word >> 1) & 0x5555555555555555ull;
        word = (word & 0x3333333333333333ull) + ((word >> 2) & 0x3333333333333333ull);
        word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0full;
        return (int)((word * 0x0101010101010101ull) >> 56);
    }

    static inline uint64_t little_endian(uint64_t word) {
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        return __builtin_bswap64(word);
    #else
        return word;
    #endif
    }
    """
    # For Cython an integer of unknown width, which C widens rightly in an expression. A conditional
    # expression has a type that Cython picks, so none here mixes it with another.
    ctypedef unsigned long long u128

    ctypedef struct Node:
        u128 place
        uint64_t full
        uint64_t* body

    size_t NODE_BYTES(int entries) noexcept nogil
    u128 lesser(u128 one, u128 other) noexcept nogil
    u128 greater(u128 one, u128 other) noexcept nogil
    int lowest_bit(uint64_t word) noexcept nogil
    int bit_length(u128 number) noexcept nogil
    int bit_count(uint64_t word) noexcept nogil
    uint64_t little_endian(uint64_t word) noexcept nogil


cdef extern from "Python.h":
    # The declaration that comes with Cython has no NULL, which clips what is too large.
    Py_ssize_t PyNumber_AsSsize_t(object number, void* exception) except? -1


cdef extern from * nogil:
    """
    #define EMPTY  0ull
    #define FULL   (~0ull)
    #define LEVEL  31               /* bits of Node.place: the level, */
    #define WIDE   32               /* whether the node is wide, */
    #define ROOM   6                /* from here on: log2 of the entries that a compact node has room for */
    #define TAGS   4095
    #define NEAR   54               /* shift of the highest level whose spans are below 2**64 */
    #define TOP    21               /* 64**22 > 2**128: no node is above this level */
    #define TOP_SLOTS 15ull         /* and it has four slots that count */
    #define WIDEN  32               /* a compact node has at most so many stored slots */
    #define NARROW 16               /* a wide node that frees a slot gets compact below this */
    #define HIGHEST (~(u128)0)
    #define PAGE   4096             /* offsets of a node of level 1 */
    """
    const uint64_t EMPTY, FULL, TOP_SLOTS
    const int LEVEL, WIDE, ROOM, NEAR, TOP, WIDEN, NARROW, PAGE
    const u128 TAGS, HIGHEST


# ---- a node and its slots ----

cdef inline int level_of(Node* node) noexcept:
    return <int> (<uint64_t> node.place & LEVEL)


cdef inline int shift_of(Node* node) noexcept:
    return 6 * level_of(node)


cdef inline bint is_wide(Node* node) noexcept:
    return (<uint64_t> node.place & WIDE) != 0


cdef inline u128 first_of(Node* node) noexcept:
    return node.place & ~TAGS


# Shifts of 128 bits are slow, and the nodes that are met most are low ones, of less than 2**64 offsets.

cdef inline u128 span_mask(int level) noexcept:
    # 64 << 126 is 0 in 128 bits, and 0 - 1 has all bits: right for the top level, too.
    if 6 * level <= NEAR:
        return (<uint64_t> 64 << (6 * level)) - 1
    return (<u128> 64 << (6 * level)) - 1


cdef inline u128 last_of(Node* node) noexcept:
    return first_of(node) | span_mask(level_of(node))


cdef inline bint spans(Node* node, u128 offset) noexcept:
    cdef u128 apart = offset ^ node.place
    if shift_of(node) <= NEAR:
        return <uint64_t> (apart >> 64) == 0 and <uint64_t> apart >> shift_of(node) < 64
    return apart >> shift_of(node) < 64


cdef inline int slot_of(Node* node, u128 offset) noexcept:
    """The slot of an offset in the node's span."""
    if shift_of(node) <= NEAR:
        return <int> (<uint64_t> offset >> shift_of(node) & 63)
    return <int> (offset >> shift_of(node) & 63)


cdef inline u128 slot_first(Node* node, int slot) noexcept:
    """The first offset of a slot."""
    if shift_of(node) <= NEAR:
        return first_of(node) | <u128> (<uint64_t> slot << shift_of(node))
    return first_of(node) | <u128> slot << shift_of(node)


cdef inline u128 slot_last(Node* node, u128 offset) noexcept:
    """The last offset of the slot that an offset is in."""
    if shift_of(node) <= NEAR:
        return offset | <u128> ((<uint64_t> 1 << shift_of(node)) - 1)
    return offset | ((<u128> 1 << shift_of(node)) - 1)


cdef inline int rank(uint64_t mask, int slot) noexcept:
    return bit_count(mask & ((<uint64_t> 1 << slot) - 1))


cdef inline Node* as_node(uint64_t entry) noexcept:
    return <Node*> <uintptr_t> entry


cdef inline uint64_t as_entry(Node* node) noexcept:
    return <uint64_t> <uintptr_t> node


cdef inline bint is_child(uint64_t entry) noexcept:
    return entry != EMPTY and entry != FULL


cdef inline uint64_t stored_entry(Node* node, int slot) noexcept:
    """What a slot that is not full holds: EMPTY, or a word (level 1) or child (above)."""
    if is_wide(node):
        return node.body[slot]
    if node.body[0] >> slot & 1:
        return node.body[1 + rank(node.body[0], slot)]
    return EMPTY


cdef inline uint64_t get(Node* node, int slot) noexcept:
    """What a slot holds: EMPTY, FULL, or a word (level 1) or child (above)."""
    return FULL if node.full >> slot & 1 else stored_entry(node, slot)


cdef inline int room_of(Node* node) noexcept:
    """Entries that a compact node has room for."""
    return 1 << <int> (<uint64_t> node.place >> ROOM & 7)


cdef size_t size_of(Node* node) noexcept:
    return NODE_BYTES(64) if is_wide(node) else NODE_BYTES(1 + room_of(node))


cdef Node* new_node(u128 offset, int level) noexcept:
    """An empty compact node of ``level`` whose span has ``offset``, or NULL."""
    cdef Node* node = <Node*> PyMem_Malloc(NODE_BYTES(1 + 2))
    if node != NULL:
        node.place = (offset & ~span_mask(level)) | <u128> (level | 1 << ROOM)
        node.full = 0
        node.body[0] = 0
    return node


cdef int resize(Node** slot_node, int room) noexcept:
    """Give a node room for so many entries, 64 of a wide one. -1, and no change, without memory to grow."""
    cdef size_t size = NODE_BYTES(64 if room > WIDEN else 1 + room)
    cdef Node* node = <Node*> PyMem_Realloc(slot_node[0], size)
    if node == NULL:
        if size > size_of(slot_node[0]):
            return -1
        node = slot_node[0]
    node.place &= ~<u128> (WIDE | 7 << ROOM)
    if room > WIDEN:
        node.place |= WIDE
    else:
        node.place |= <u128> (lowest_bit(room) << ROOM)
    slot_node[0] = node
    return 0


cdef void unpack(Node* node, uint64_t* slots) noexcept:
    cdef uint64_t full, stored
    cdef uint64_t* entry
    cdef int slot
    if is_wide(node):
        memcpy(slots, node.body, 64 * sizeof(uint64_t))
        return
    memset(slots, 0, 64 * sizeof(uint64_t))
    full = node.full
    while full:
        slots[lowest_bit(full)] = FULL
        full &= full - 1
    entry = node.body + 1
    stored = node.body[0]
    while stored:
        slot = lowest_bit(stored)
        slots[slot] = entry[0]
        entry += 1
        stored &= stored - 1


cdef int pack(Node** slot_node, uint64_t* slots) noexcept:
    """Make the node hold these 64 slots, in the form that fits. -1, and no change, without memory."""
    cdef uint64_t full = 0, stored = 0
    cdef uint64_t* entry
    cdef Node* node
    cdef int slot, room = 2
    for slot in range(64):
        full |= <uint64_t> (slots[slot] == FULL) << slot
        stored |= <uint64_t> (slots[slot] != FULL and slots[slot] != EMPTY) << slot
    while room < bit_count(stored):
        room *= 2
    if resize(slot_node, room):
        return -1
    node = slot_node[0]
    node.full = full
    if is_wide(node):
        memcpy(node.body, slots, 64 * sizeof(uint64_t))
        return 0
    node.body[0] = stored
    entry = node.body + 1
    while stored:
        entry[0] = slots[lowest_bit(stored)]
        entry += 1
        stored &= stored - 1
    return 0


cdef int stored_in_wide(Node* node) noexcept:
    cdef int slot, count = 0
    for slot in range(64):
        count += node.body[slot] != EMPTY and node.body[slot] != FULL
    return count


cdef int insert(Node** slot_node, int slot, uint64_t entry) noexcept:
    """Store an entry in a slot of a compact node that stored none. -1, and no change, without memory."""
    cdef Node* node = slot_node[0]
    cdef uint64_t slots[64]
    cdef int position, count = bit_count(node.body[0])
    if count == room_of(node):
        if node.full & node.body[0]:
            drop(node, lowest_bit(node.full & node.body[0]))
            count -= 1
        elif count == WIDEN:
            unpack(node, slots)
            slots[slot] = entry
            return pack(slot_node, slots)
        elif resize(slot_node, 2 * count):
            return -1
        node = slot_node[0]
    position = 1 + rank(node.body[0], slot)
    memmove(node.body + position + 1, node.body + position, (count + 1 - position) * sizeof(uint64_t))
    node.body[position] = entry
    node.body[0] |= <uint64_t> 1 << slot
    node.full &= ~(<uint64_t> 1 << slot)
    return 0


cdef void drop(Node* node, int slot) noexcept:
    """Store nothing any more in a slot of a compact node."""
    cdef int position = 1 + rank(node.body[0], slot)
    cdef int behind = bit_count(node.body[0]) - position
    memmove(node.body + position, node.body + position + 1, behind * sizeof(uint64_t))
    node.body[0] &= ~(<uint64_t> 1 << slot)


cdef int put(Node** slot_node, int slot, uint64_t entry) noexcept:
    """Let a slot hold an entry. -1, and no change, without memory: only if none was stored and one is now."""
    cdef Node* node = slot_node[0]
    cdef uint64_t bit = <uint64_t> 1 << slot
    cdef uint64_t slots[64]
    if is_wide(node):
        node.body[slot] = entry
        node.full = (node.full & ~bit) | (<uint64_t> (entry == FULL) << slot)
        if entry == EMPTY and stored_in_wide(node) <= NARROW:
            unpack(node, slots)
            return pack(slot_node, slots)
        return 0
    if is_child(entry) and not node.body[0] & bit:
        return insert(slot_node, slot, entry)
    node.full = (node.full & ~bit) | (<uint64_t> (entry == FULL) << slot)
    if is_child(entry) or (entry == FULL and level_of(node) == 1 and node.body[0] & bit):
        # A word that gets full keeps its place until that is needed: often it is the next one to change.
        node.body[1 + rank(node.body[0], slot)] = entry
        return 0
    if node.body[0] & bit:
        drop(node, slot)
        if room_of(node) > 2 and 4 * bit_count(node.body[0]) <= room_of(node):
            return resize(slot_node, room_of(node) // 2)
    return 0


# ---- whole trees ----

cdef void release(uint64_t entry) noexcept:
    """Free what a slot above level 1 holds."""
    cdef Node* node = as_node(entry)
    cdef int slot
    if not is_child(entry):
        return
    if level_of(node) > 1:
        for slot in range(64):
            release(get(node, slot))
    PyMem_Free(node)


cdef Node* clone(Node* node) noexcept:
    """A copy of the tree below ``node``, or NULL."""
    cdef Node* twin = <Node*> PyMem_Malloc(size_of(node))
    cdef int entry, entries = 64 if is_wide(node) else 1 + bit_count(node.body[0])
    cdef int start = 0 if is_wide(node) else 1
    if twin == NULL:
        return NULL
    memcpy(twin, node, NODE_BYTES(entries))
    if level_of(node) == 1:
        return twin
    for entry in range(start, entries):
        if is_child(node.body[entry]):
            twin.body[entry] = as_entry(clone(as_node(node.body[entry])))
            if twin.body[entry] == EMPTY:
                memset(twin.body + entry, 0, (entries - entry) * sizeof(uint64_t))
                release(as_entry(twin))
                return NULL
    return twin


cdef size_t bytes_of(Node* node) noexcept:
    cdef size_t total = size_of(node)
    cdef int slot
    if level_of(node) > 1:
        for slot in range(64):
            if is_child(get(node, slot)):
                total += bytes_of(as_node(get(node, slot)))
    return total


cdef bint same(Node* one, Node* other) noexcept:
    """Whether two trees hold the same offsets. As trees are canonical, slot by slot will do."""
    cdef uint64_t entry, twin
    cdef int slot
    if first_of(one) != first_of(other) or level_of(one) != level_of(other) or one.full != other.full:
        return False
    for slot in range(64):
        entry = get(one, slot)
        twin = get(other, slot)
        if entry != twin:
            if level_of(one) == 1 or not is_child(entry) or not is_child(twin):
                return False
            if not same(as_node(entry), as_node(twin)):
                return False
    return True


# ---- search ----

cdef inline Node* leaf_at(Node* node, u128 offset, uint64_t* outside) noexcept:
    """The node of level 1 that has the offset; NULL if there is none, as all around is ``outside[0]``."""
    cdef uint64_t entry
    while node != NULL and spans(node, offset):
        if level_of(node) == 1:
            return node
        entry = get(node, slot_of(node, offset))
        if entry == FULL:
            outside[0] = FULL
            return NULL
        node = as_node(entry)
    outside[0] = EMPTY
    return NULL


cdef inline uint64_t word_at(Node* root, u128 offset) noexcept:
    cdef uint64_t word = EMPTY
    cdef Node* leaf = leaf_at(root, offset, &word)
    if leaf != NULL:
        word = get(leaf, slot_of(leaf, offset))
    return word


cdef bint lowest_free(Node* root, u128* at) noexcept:
    """Move ``at`` to the lowest free offset from there on; False if all are used up to 2**128.

    Down the tree a slot that is not full has room, except where the search begins within it. Where that
    leads to a node without room, the search goes on behind it, and from the root.
    """
    cdef Node* node = root
    cdef u128 offset = at[0]
    cdef uint64_t free
    cdef int slot
    while node != NULL and spans(node, offset):
        slot = slot_of(node, offset)
        free = ~node.full & (FULL << slot)
        if level_of(node) == TOP:
            free &= TOP_SLOTS
        if free == 0:
            offset = last_of(node) + 1
            if offset == 0:
                return False
            node = root
            continue
        if not free >> slot & 1:
            slot = lowest_bit(free)
            offset = slot_first(node, slot)
        if level_of(node) > 1:
            node = as_node(stored_entry(node, slot))
            continue
        free = ~stored_entry(node, slot) & (FULL << <int> (offset & 63))
        if free:
            at[0] = (offset & ~<u128> 63) | <u128> lowest_bit(free)
            return True
        offset = (offset | 63) + 1
        if offset == 0:
            return False
        node = root
    at[0] = offset
    return True


cdef inline int used_slot(Node* node, int slot) noexcept:
    """The first slot from ``slot`` on in which an offset is used; 64 if there is none."""
    cdef uint64_t used
    if is_wide(node):
        while slot < 64 and node.body[slot] == EMPTY:
            slot += 1
        return slot
    used = (node.full | node.body[0]) & (FULL << slot)
    return lowest_bit(used) if used else 64


cdef bint lowest_used(Node* root, u128* at) noexcept:
    """Move ``at`` to the lowest used offset from there on; False if there is none.

    Goes on from the root, as ``lowest_free`` does, where a node has nothing any more.
    """
    cdef Node* node = root
    cdef Node* above = NULL
    cdef u128 offset = at[0]
    cdef uint64_t entry
    cdef int slot
    while node != NULL:
        if offset < first_of(node):
            offset = first_of(node)
        slot = used_slot(node, slot_of(node, offset)) if spans(node, offset) else 64
        if slot == 64:
            # Behind a node there may be more in the node above, but not in the slot that it is in.
            if above == NULL:
                return False
            offset = slot_last(above, first_of(node)) + 1
            node = root
            above = NULL
            if offset == 0:
                return False
            continue
        if slot != slot_of(node, offset):
            offset = slot_first(node, slot)
        entry = get(node, slot)
        if level_of(node) > 1:
            if entry == FULL:
                at[0] = offset
                return True
            above = node
            node = as_node(entry)
            continue
        entry &= FULL << <int> (offset & 63)
        if entry:
            at[0] = (offset & ~<u128> 63) | <u128> lowest_bit(entry)
            return True
        offset = (offset | 63) + 1
        if offset == 0:
            return False
        if not spans(node, offset):
            node = root
            above = NULL
    return False


# ---- change ----

cdef struct Stroke:
    uint64_t colour             # FULL to use offsets, EMPTY to free them
    const uint64_t* pattern     # which offsets of one page; NULL: all of the interval


cdef int common_level(u128 low, u128 high) noexcept:
    """The level of the smallest node that spans both offsets."""
    cdef int length = bit_length(low ^ high)
    return 1 if length <= 12 else (length - 1) // 6


cdef bint fills_slot(int level, u128 low, u128 high) noexcept:
    """Whether an interval in a slot of a node of ``level`` is all of that slot."""
    return low != high and level <= TOP and high - low == (<u128> 1 << (6 * level)) - 1


cdef uint64_t settle(Node* node, int level) noexcept:
    """What a slot of a node of ``level`` should hold for ``node``: makes the tree canonical, and needs no
    memory to do so."""
    cdef uint64_t entry
    cdef u128 first = first_of(node)
    cdef int own = level_of(node)
    if node.full == FULL:
        if own == level - 1:
            PyMem_Free(node)
            return FULL
        # All used, but less than its slot: one full slot of a node one level higher.
        resize(&node, 2)
        node.body[0] = 0
        node.place = (node.place & ~span_mask(own + 1)) | <u128> (own + 1 | 1 << ROOM)
        node.full = <uint64_t> 1 << slot_of(node, first)
        return as_entry(node)
    if is_wide(node) or node.full:
        return as_entry(node)
    if node.body[0] == 0:
        PyMem_Free(node)
        return EMPTY
    if own > 1 and node.body[0] & (node.body[0] - 1) == 0:
        entry = node.body[1]
        PyMem_Free(node)
        return entry
    return as_entry(node)


cdef uint64_t painted(uint64_t word, int slot, u128 low, u128 high, Stroke* stroke) noexcept:
    """The word of a slot of a page after the stroke over low to high, which meets that slot."""
    cdef uint64_t mask = FULL
    if slot == <int> (low >> 6 & 63):
        mask <<= <int> (low & 63)
    if slot == <int> (high >> 6 & 63):
        mask &= FULL >> (63 - <int> (high & 63))
    if stroke.pattern != NULL:
        mask &= stroke.pattern[slot]
    if stroke.colour == FULL:
        return word | mask
    return word & ~mask


cdef int paint_page(Node** node, u128 low, u128 high, Stroke* stroke) noexcept:
    cdef uint64_t slots[64]
    cdef int slot, first = slot_of(node[0], low), last = slot_of(node[0], high)
    if first == last:
        return put(node, first, painted(get(node[0], first), first, low, high, stroke))
    unpack(node[0], slots)
    for slot in range(first, last + 1):
        slots[slot] = painted(slots[slot], slot, low, high, stroke)
    return pack(node, slots)


cdef int paint_slots(Node** node, u128 low, u128 high, Stroke* stroke) noexcept:
    """Paint low to high, which the node spans. After -1 some of it is painted, and the slots are sound."""
    cdef int slot, level = level_of(node[0]), failed
    cdef u128 start = low, stop
    cdef uint64_t before, entry
    if level == 1:
        return paint_page(node, low, high, stroke)
    for slot in range(slot_of(node[0], low), slot_of(node[0], high) + 1):
        stop = lesser(high, slot_last(node[0], start))
        before = entry = get(node[0], slot)
        failed = paint(&entry, level, start, stop, stroke)
        if entry != before and put(node, slot, entry):
            # Only a slot that stored nothing needs memory, so the child is new and can go again.
            release(entry)
            failed = -1
        if failed:
            return -1
        start = stop + 1
    return 0


cdef Node* framed(uint64_t entry, int level, u128 low, u128 high) noexcept:
    """A node for a slot of a node of ``level`` that holds ``entry`` and can take another colour from low
    to high; NULL without memory."""
    cdef Node* child = as_node(entry)
    cdef Node* node
    cdef int own
    if entry == FULL:
        node = new_node(low, level - 1)
        if node != NULL:
            node.full = FULL
        return node
    if entry == EMPTY:
        return new_node(low, common_level(low, high))
    if spans(child, low) and spans(child, high):
        return child
    own = common_level(first_of(child) ^ low | first_of(child) ^ high, 0)
    node = new_node(low, own)
    if node != NULL:
        node.body[0] = <uint64_t> 1 << slot_of(node, first_of(child))
        node.body[1] = entry
    return node


cdef int paint(uint64_t* entry, int level, u128 low, u128 high, Stroke* stroke) noexcept:
    """Paint low to high, which lie in one slot of a node of ``level``; the slot holds ``entry``.

    Returns -1 without memory; then some of it may be painted, and the tree is sound.
    """
    cdef Node* node
    cdef int failed
    if entry[0] == stroke.colour:
        return 0
    if stroke.colour == EMPTY and entry[0] != FULL:
        node = as_node(entry[0])
        if high < first_of(node) or low > last_of(node):
            return 0
        low = greater(low, first_of(node))
        high = lesser(high, last_of(node))
    if stroke.pattern == NULL and fills_slot(level, low, high):
        release(entry[0])
        entry[0] = stroke.colour
        return 0
    node = framed(entry[0], level, low, high)
    if node == NULL:
        return -1
    failed = paint_slots(&node, low, high, stroke)
    entry[0] = settle(node, level)
    return failed


cdef int flip(uint64_t* entry, int level, u128 offset) noexcept:
    """Use a free offset, or free a used one, in a slot of a node of ``level`` that holds ``entry``.

    Does what ``paint`` does, for the case that must be fast. -1, and no change, without memory.
    """
    cdef Node* node = framed(entry[0], level, offset, offset)
    cdef uint64_t before, below
    cdef int slot, failed = 0
    if node == NULL:
        return -1
    slot = slot_of(node, offset)
    before = below = get(node, slot)
    if level_of(node) == 1:
        below ^= <uint64_t> 1 << <int> (offset & 63)
    else:
        failed = flip(&below, level_of(node), offset)
        if below == before and not failed:
            return 0
    if below != before and put(&node, slot, below):
        failed = -1
        if level_of(node) > 1:
            release(below)
    entry[0] = settle(node, level)
    return failed


cdef bint rewrite(Node* leaf, int slot, uint64_t word) noexcept:
    """Put a word into a leaf if that changes no more than the word; else False, and no change."""
    cdef uint64_t full, bit = <uint64_t> 1 << slot
    full = (leaf.full & ~bit) | (<uint64_t> (word == FULL) << slot)
    if full == FULL or word == EMPTY:
        return False
    if is_wide(leaf):
        leaf.body[slot] = word
    elif leaf.body[0] & bit:
        leaf.body[1 + rank(leaf.body[0], slot)] = word
    else:
        return False
    leaf.full = full
    return True


# ---- bulk ----

cdef u128 count_used(Node* node, u128 low, u128 high) noexcept:
    """How many offsets are used from low to high; 2**128 comes out as 0."""
    cdef u128 total = 0, start, stop
    cdef int slot, shift
    cdef uint64_t entry
    if node == NULL or high < first_of(node) or low > last_of(node):
        return 0
    low = greater(low, first_of(node))
    high = lesser(high, last_of(node))
    start = low
    shift = shift_of(node)
    for slot in range(slot_of(node, low), slot_of(node, high) + 1):
        stop = lesser(high, slot_last(node, start))
        entry = get(node, slot)
        if entry == FULL:
            total += stop - start + 1
        elif shift == 6:
            entry = entry >> <int> (start & 63) << <int> (start & 63)
            total += <u128> bit_count(entry & (FULL >> (63 - <int> (stop & 63))))
        elif entry != EMPTY:
            total += count_used(as_node(entry), start, stop)
        start = stop + 1
    return total


cdef void copy_words(Node* node, u128 low, u128 high, uint64_t* out) noexcept:
    """Copy the words of low to high, both at the edge of a word, to ``out``, which is zero before."""
    cdef u128 start, stop
    cdef int slot, shift
    cdef uint64_t entry
    if node == NULL or high < first_of(node) or low > last_of(node):
        return
    start = greater(low, first_of(node))
    high = lesser(high, last_of(node))
    shift = shift_of(node)
    for slot in range(slot_of(node, start), slot_of(node, high) + 1):
        stop = lesser(high, slot_last(node, start))
        entry = get(node, slot)
        if shift == 6:
            out[<size_t> ((start - low) >> 6)] = entry
        elif entry == FULL:
            memset(out + <size_t> ((start - low) >> 6), 255, <size_t> (((stop - start) >> 6) + 1) * 8)
        elif entry != EMPTY:
            copy_words(as_node(entry), start, stop, out + <size_t> ((start - low) >> 6))
        start = stop + 1


cdef uint64_t* write_offsets(Node* node, uint64_t* out) noexcept:
    """Write the used offsets, all below 2**64, in order; return the end of what is written."""
    cdef int slot, shift = shift_of(node)
    cdef uint64_t entry, first, step
    for slot in range(64):
        entry = get(node, slot)
        first = <uint64_t> slot_first(node, slot)
        if shift == 6:
            while entry:
                out[0] = first + <uint64_t> lowest_bit(entry)
                out += 1
                entry &= entry - 1
        elif entry == FULL:
            for step in range(<uint64_t> 1 << shift):
                out[step] = first + step
            out += <uint64_t> 1 << shift
        elif entry != EMPTY:
            out = write_offsets(as_node(entry), out)
    return out


# ---- numbers from Python, and back ----

cdef int read_number(object number, u128* out) except -1:
    """Read an integer: 1 if it is from 0 to 2**128 - 1, else 0. May run Python code."""
    cdef int overflow = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(number, &overflow)
    if small >= 0:
        out[0] = <u128> small
        return 1
    if overflow == 0 and small == -1 and PyErr_Occurred() != NULL:
        return -1
    if overflow <= 0:
        return 0
    number = PyNumber_Index(number)
    if number < 0 or number.bit_length() > 128:
        return 0
    out[0] = <u128> <uint64_t> (number >> 64) << 64 | <u128> <uint64_t> (number & 0xFFFF_FFFF_FFFF_FFFF)
    return 1


cdef inline object number_of(u128 number):
    if number >> 64 == 0:
        return PyLong_FromUnsignedLongLong(<uint64_t> number)
    return PyLong_FromUnsignedLongLong(<uint64_t> (number >> 64)) << 64 | <uint64_t> number


cdef object spelled(object number):
    """A number for a message: Python refuses to print very long ones, and nobody could read them."""
    number = PyNumber_Index(number)
    return str(number) if number.bit_length() <= 129 else f"a number of {number.bit_length()} bits"


cdef struct Barred:
    Py_ssize_t begun    # intervals before this index start at or below the offset that was looked at last
    u128 clear          # from that offset up to here no other interval starts
    bint known


cdef tuple NO_INTERVALS = ()


cdef inline Barred before_all(object intervals):
    """Where a search stands that has looked at no interval yet."""
    cdef Barred barred
    barred.begun = 0
    barred.clear = HIGHEST
    barred.known = intervals is NO_INTERVALS
    return barred


cdef bint read_limit(object limit, u128* out) except -1:
    """Read an end of an interval, cut to 0 below; False if it is above all offsets."""
    if read_number(limit, out):
        return True
    out[0] = 0
    return limit < 0


cdef int look_up(object intervals, Barred* barred, u128 at) except -1:
    """Find by bisection which intervals start at or below ``at``, which is above the last one looked up."""
    cdef Py_ssize_t low = barred.begun, high = len(intervals), middle
    cdef u128 first = 0
    barred.clear = HIGHEST
    barred.known = True
    while low < high:
        middle = low + (high - low) // 2
        start, _ = PySequence_GetItem(intervals, middle)
        if not read_limit(start, &first):
            high = middle
        elif first > at:
            high = middle
            barred.clear = first - 1
        else:
            low = middle + 1
    barred.begun = low
    return 0


cdef int pass_barred(object intervals, Barred* barred, u128* at) except -1:
    """Move ``at`` behind the barred intervals that it is in; 0 if nothing is behind."""
    cdef u128 stop = 0
    while not barred.known or at[0] > barred.clear:
        look_up(intervals, barred, at[0])
        if barred.begun > 0:
            _, limit = PySequence_GetItem(intervals, barred.begun - 1)
            if not read_limit(limit, &stop):
                return 0
            at[0] = greater(at[0], stop)
    return 1


cdef enum:
    NO_FORMAT = 0
    UNSIGNED = 1
    SIGNED = 2


cdef int number_format(object view) except -1:
    """How to read the items of a memoryview: native integers in one dimension, or not at all."""
    if view.ndim != 1 or len(view.format) != 1 or view.itemsize not in (1, 2, 4, 8):
        return NO_FORMAT
    if view.format in "BHILQN":
        return UNSIGNED
    return SIGNED if view.format in "bhilqn" else NO_FORMAT


cdef uint64_t read_item(const char* item, Py_ssize_t size) noexcept:
    """An unsigned integer in memory, of any alignment."""
    cdef uint8_t byte = 0
    cdef uint16_t short_word = 0
    cdef uint32_t half_word = 0
    cdef uint64_t word = 0
    if size == 8:
        memcpy(&word, item, 8)
        return word
    if size == 4:
        memcpy(&half_word, item, 4)
        return half_word
    if size == 2:
        memcpy(&short_word, item, 2)
        return short_word
    memcpy(&byte, item, 1)
    return byte


# ---- the face to Python ----

@cython.final
@cython.freelist(64)
cdef class Bitmap:
    """Bitmap(capacity=None, /)

    A set of used offsets, ``0 <= offset < capacity``; ``capacity`` is from 1 to 2**128, or ``None`` for
    2**128. A new one is empty. Intervals are half-open: ``start <= offset < stop``.

    An offset that is out of bounds is an ``IndexError``, an interval or capacity that makes no sense is a
    ``ValueError``, what is no integer is a ``TypeError``. When memory runs out there is a ``MemoryError``;
    an offset is then used or free as before, an interval may be done in part.

    Every method is atomic towards other threads under the interpreter lock. The iterators look at the set
    as it is when they are asked, so that offsets may be used and freed meanwhile.
    """

    cdef uint64_t root      # EMPTY or a node, as in the slot of a node above all
    cdef u128 last          # the highest offset that may be used
    cdef u128 used          # how many are used; 0 stands for 2**128, too

    # Who gives the lowest free offset, and frees one at a time, gives that one again: so the tree is not
    # told of it before something else happens. ``change``, ``lowest``, ``tree`` and ``copy`` know that it
    # may be behind; all else asks ``tree`` for the root.
    cdef u128 floor         # all offsets below are used, but for the hole
    cdef u128 hole          # an offset below the floor that came back
    cdef bint at_floor      # the floor itself is free
    cdef bint has_hole      # and the tree has the hole as used

    __hash__ = None

    def __cinit__(self, capacity=None, /):
        cdef u128 number = 0
        self.last = HIGHEST
        if capacity is None:
            return
        if read_number(capacity, &number):
            if number == 0:
                raise ValueError("a capacity is from 1 to 2**128 offsets, not 0")
            self.last = number - 1
        elif capacity != 1 << 128:
            raise ValueError(f"a capacity is from 1 to 2**128 offsets, not {spelled(capacity)}")

    def __dealloc__(self):
        release(self.root)

    # -- one offset --

    cdef int read_offset(self, object number, u128* offset) except -1:
        if read_number(number, offset) == 0 or offset[0] > self.last:
            raise IndexError(f"offset {spelled(number)} is out of bounds: the capacity is {self.capacity}")
        return 0

    cdef Node* tree(self) except? NULL:
        """The root of the tree, which is up to date."""
        if self.has_hole:
            if flip(&self.root, TOP + 1, self.hole):
                raise MemoryError()
            self.has_hole = False
            self.move_floor(self.hole, self.hole, EMPTY)
        return as_node(self.root)

    cdef int change(self, u128 offset, uint64_t colour) except -1:
        """Use or free one offset; 1 if it was not so before."""
        if colour == FULL and self.has_hole and offset == self.hole:
            self.has_hole = False
        elif colour == EMPTY and not self.has_hole and offset < self.floor:
            self.has_hole = True
            self.hole = offset
        elif self.change_tree(offset, colour):
            self.move_floor(offset, offset, colour)
        else:
            return 0
        if colour == FULL:
            self.used += 1
        else:
            self.used -= 1
        return 1

    cdef int change_tree(self, u128 offset, uint64_t colour) except -1:
        cdef uint64_t bit = <uint64_t> 1 << <int> (offset & 63)
        cdef uint64_t word = EMPTY
        cdef int slot = <int> (offset >> 6 & 63)
        cdef Node* leaf = leaf_at(self.tree(), offset, &word)
        if leaf != NULL:
            word = get(leaf, slot)
        if (word ^ colour) & bit == 0:
            return 0
        if leaf == NULL or not rewrite(leaf, slot, word ^ bit):
            if flip(&self.root, TOP + 1, offset):
                raise MemoryError()
        return 1

    cdef inline void move_floor(self, u128 low, u128 high, uint64_t colour) noexcept:
        """Keep the floor true after low to high were used or freed."""
        if low > self.floor:
            return
        if colour == EMPTY:
            self.floor = low
            self.at_floor = True
        elif high >= self.floor:
            # One more than the highest offset is 0: a floor that is always true.
            self.floor = high + 1
            self.at_floor = False

    def test(self, offset, /):
        """test(offset) -> bool. Whether the offset is used."""
        cdef u128 at = 0
        self.read_offset(offset, &at)
        return word_at(self.tree(), at) >> <int> (at & 63) & 1 != 0

    def set(self, offset, /):
        """set(offset) -> bool. Use the offset; False if it was used already."""
        cdef u128 at = 0
        self.read_offset(offset, &at)
        return self.change(at, FULL) != 0

    def clear(self, offset, /):
        """clear(offset) -> bool. Free the offset; False if it was free already."""
        cdef u128 at = 0
        self.read_offset(offset, &at)
        return self.change(at, EMPTY) != 0

    def __contains__(self, offset):
        """Whether the offset is used. Out of bounds none is."""
        cdef u128 at = 0
        if not read_number(offset, &at):
            return False
        return word_at(self.tree(), at) >> <int> (at & 63) & 1 != 0

    # -- intervals --

    cdef int paint(self, u128 low, u128 high, uint64_t colour, const uint64_t* pattern) except -1:
        """Use or free offsets; the caller sees to what is known about the tree."""
        cdef Stroke stroke
        stroke.colour = colour
        stroke.pattern = pattern
        self.tree()
        if paint(&self.root, TOP + 1, low, high, &stroke):
            self.recount()
            raise MemoryError()
        return 0

    cdef void recount(self) noexcept:
        """Derive from the tree what is known about it, after changes that did not keep it up."""
        self.used = count_used(as_node(self.root), 0, HIGHEST)
        self.floor = 0
        self.at_floor = False

    cdef int fill(self, u128 low, u128 high, uint64_t colour) except -1:
        cdef u128 used = count_used(self.tree(), low, high)
        self.paint(low, high, colour, NULL)
        self.move_floor(low, high, colour)
        if colour == FULL:
            self.used += high - low + 1 - used
        else:
            self.used -= used
        return 0

    cdef object total(self):
        if self.used == 0 and self.tree() != NULL:
            return 1 << 128
        return number_of(self.used)

    cdef int read_interval(self, object start, object stop, u128* low, u128* high) except -1:
        """Read an interval as an inclusive one; 0 if it is empty."""
        capacity = self.capacity
        start = PyNumber_Index(start)
        stop = capacity if stop is None else PyNumber_Index(stop)
        if not 0 <= start <= stop <= capacity:
            raise ValueError(
                f"no interval of offsets below {capacity}: from {spelled(start)} up to {spelled(stop)}"
            )
        if start == stop:
            return 0
        read_number(start, low)
        read_number(stop - 1, high)
        return 1

    def set_range(self, start, stop, /):
        """set_range(start, stop) -> int. Use an interval; how many of it were free."""
        cdef u128 low = 0, high = 0
        if not self.read_interval(start, stop, &low, &high):
            return 0
        before = self.total()
        self.fill(low, high, FULL)
        return self.total() - before

    def clear_range(self, start, stop, /):
        """clear_range(start, stop) -> int. Free an interval; how many of it were used."""
        cdef u128 low = 0, high = 0
        if not self.read_interval(start, stop, &low, &high):
            return 0
        before = self.total()
        self.fill(low, high, EMPTY)
        return before - self.total()

    def count(self, start=0, stop=None, /):
        """count(start=0, stop=None) -> int. How many offsets of the interval are used."""
        cdef u128 low = 0, high = 0
        if not self.read_interval(start, stop, &low, &high):
            return 0
        if low == 0 and high == self.last:
            return self.total()
        return number_of(count_used(self.tree(), low, high))

    # -- search --

    cdef int read_start(self, object start, u128* at) except -1:
        """Read where to search from; 0 if that is the end already."""
        if read_number(start, at) and at[0] <= self.last:
            return 1
        if start == self.capacity:
            return 0
        raise IndexError(f"start {spelled(start)} is out of bounds: the capacity is {self.capacity}")

    cdef bint lowest(self, u128* at) except -1:
        """Move ``at`` to the lowest free offset from there on; False if there is none."""
        if self.has_hole and at[0] <= self.hole:
            at[0] = self.hole
            return True
        if self.has_hole or at[0] > self.floor:
            return lowest_free(self.tree(), at) and at[0] <= self.last
        if not self.at_floor:
            self.at_floor = lowest_free(as_node(self.root), &self.floor)
        at[0] = self.floor
        return self.at_floor and at[0] <= self.last

    cdef int lowest_outside(self, object intervals, Barred* barred, u128* at) except -1:
        """Move ``at`` to the lowest offset from there on that is free and not barred; 0 if there is none."""
        cdef u128 free
        while self.lowest(at):
            free = at[0]
            if not pass_barred(intervals, barred, at):
                return 0
            if at[0] == free:
                return 1
        return 0

    def first_free(self, start=0, /):
        """first_free(start=0) -> int | None. The lowest free offset from ``start`` on."""
        cdef u128 at = 0
        if not self.read_start(start, &at) or not self.lowest(&at):
            return None
        return number_of(at)

    def first_free_outside(self, intervals, start=0, /):
        """first_free_outside(intervals, start=0) -> int | None

        The lowest free offset from ``start`` on that is in none of the intervals: a sequence of
        ``(start, stop)``, sorted and disjoint. They may reach out of bounds. An interval is skipped in one
        step and found by bisection, however many there are.
        """
        cdef u128 at = 0
        cdef Barred barred = before_all(intervals)
        if not self.read_start(start, &at) or not self.lowest_outside(intervals, &barred, &at):
            return None
        return number_of(at)

    def allocate(self, start=0, intervals=(), /):
        """allocate(start=0, intervals=()) -> int | None

        Use the lowest free offset from ``start`` on that is in none of the intervals (see
        ``first_free_outside``), and return it; ``None`` if there is none.
        """
        cdef u128 at = 0
        cdef Barred barred = before_all(intervals)
        if not self.read_start(start, &at) or not self.lowest_outside(intervals, &barred, &at):
            return None
        self.change(at, FULL)
        return number_of(at)

    def take(self, n, start=0, intervals=(), /):
        """take(n, start=0, intervals=()) -> list[int]

        Use the ``n`` lowest free offsets from ``start`` on that are in none of the intervals (see
        ``first_free_outside``), and return them in order: fewer, if there are not so many.
        """
        cdef Py_ssize_t wanted = PyNumber_AsSsize_t(n, NULL)
        cdef u128 at = 0
        cdef Barred barred = before_all(intervals)
        cdef list taken = []
        if wanted < 0:
            raise ValueError(f"cannot take {spelled(n)} offsets")
        if not self.read_start(start, &at):
            return taken
        while len(taken) < wanted and self.lowest_outside(intervals, &barred, &at):
            taken.append(number_of(at))
            if at == self.last:
                break
            at += 1
        self.use(taken)
        return taken

    cdef int use(self, list offsets) except -1:
        """Use offsets in bounds that are in order: neighbours at once."""
        cdef u128 low = 0, high = 0, offset = 0
        cdef bint any_left = False
        for number in offsets:
            read_number(number, &offset)
            if any_left and offset == high + 1:
                high = offset
                continue
            if any_left:
                self.fill(low, high, FULL)
            low = high = offset
            any_left = True
        if any_left:
            self.fill(low, high, FULL)
        return 0

    # -- the whole set --

    @property
    def capacity(self):
        """How many offsets there are, used or free: from 1 to 2**128."""
        if self.last == HIGHEST:
            return 1 << 128
        return number_of(self.last + 1)

    @property
    def nbytes(self):
        """Bytes of memory that the set holds, itself included."""
        cdef Node* root = self.tree()
        cdef size_t own = object.__sizeof__(self)
        return own if root == NULL else own + bytes_of(root)

    def __sizeof__(self):
        return self.nbytes

    def __bool__(self):
        return self.tree() != NULL

    def __repr__(self):
        return f"Bitmap(capacity={self.capacity}, used={self.total()})"

    def __eq__(self, other):
        """Whether capacity and used offsets are the same."""
        if not isinstance(other, Bitmap):
            return NotImplemented
        return self.equals(<Bitmap> other) != 0

    cdef int equals(self, Bitmap other) except -1:
        cdef Node* one = self.tree()
        cdef Node* two = other.tree()
        if self.last != other.last or self.used != other.used:
            return False
        if one == NULL or two == NULL:
            return one == two
        return same(one, two)

    cpdef Bitmap copy(self):
        """copy() -> Bitmap. An independent set of the same capacity and the same used offsets."""
        cdef Bitmap twin = Bitmap.__new__(Bitmap)
        if self.root != EMPTY:
            twin.root = as_entry(clone(as_node(self.root)))
            if twin.root == EMPTY:
                raise MemoryError()
        twin.last = self.last
        twin.used = self.used
        twin.floor = self.floor
        twin.hole = self.hole
        twin.at_floor = self.at_floor
        twin.has_hole = self.has_hole
        return twin

    def __copy__(self):
        return self.copy()

    def __deepcopy__(self, memo):
        return self.copy()

    def __ior__(self, other):
        """Use what the other set uses."""
        return self.merge(other, FULL)

    def __isub__(self, other):
        """Free what the other set uses."""
        return self.merge(other, EMPTY)

    def __or__(self, other):
        """The offsets that are used in one of the sets, which have the same capacity."""
        if not isinstance(self, Bitmap) or not isinstance(other, Bitmap):
            return NotImplemented
        return self.copy().merge(other, FULL)

    def __sub__(self, other):
        """The offsets that are used in this set and not in the other, which has the same capacity."""
        if not isinstance(self, Bitmap) or not isinstance(other, Bitmap):
            return NotImplemented
        return self.copy().merge(other, EMPTY)

    cdef merge(self, object other, uint64_t colour):
        cdef Bitmap source
        cdef Node* root
        if not isinstance(other, Bitmap):
            return NotImplemented
        source = <Bitmap> other
        if source.last != self.last:
            raise ValueError(f"the capacities differ: {self.capacity} and {source.capacity}")
        if source is self:
            # What is read must not change under the reader.
            source = self.copy()
        root = source.tree()
        if root != NULL:
            self.paint_all(root, colour)
            self.recount()
        return self

    cdef int paint_all(self, Node* source, uint64_t colour) except -1:
        """Use or free what another tree uses."""
        cdef uint64_t slots[64]
        cdef int slot, shift = shift_of(source)
        cdef u128 first = first_of(source)
        unpack(source, slots)
        if shift == 6:
            return self.paint(first, last_of(source), colour, slots)
        for slot in range(64):
            if slots[slot] == FULL:
                self.paint(first, slot_last(source, first), colour, NULL)
            elif slots[slot] != EMPTY:
                self.paint_all(as_node(slots[slot]), colour)
            first += <u128> 1 << shift
        return 0

    def __iter__(self):
        """The used offsets in order."""
        cdef Offsets offsets = Offsets.__new__(Offsets)
        offsets.bitmap = self
        return offsets

    def runs(self):
        """runs() -> Iterator[tuple[int, int]]. The longest intervals of used offsets, ``(start, stop)``."""
        cdef Runs runs = Runs.__new__(Runs)
        runs.bitmap = self
        return runs

    # -- bulk --

    @staticmethod
    def from_offsets(offsets, capacity=None, /):
        """from_offsets(offsets, capacity=None) -> Bitmap

        The set of these offsets, in any order: an iterable of integers, or a buffer of them, such as a
        NumPy array, which is read without making Python objects.
        """
        cdef Bitmap bitmap = Bitmap(capacity)
        cdef Py_buffer view
        cdef int form
        cdef u128 at = 0
        if PyObject_CheckBuffer(offsets):
            form = number_format(memoryview(offsets))
            if form != NO_FORMAT:
                PyObject_GetBuffer(offsets, &view, PyBUF_STRIDED_RO)
                try:
                    bitmap.use_items(&view, form)
                finally:
                    PyBuffer_Release(&view)
                return bitmap
        for offset in offsets:
            bitmap.read_offset(offset, &at)
            bitmap.change(at, FULL)
        return bitmap

    cdef int use_items(self, Py_buffer* view, int form) except -1:
        cdef Py_ssize_t index, bits = 8 * view.itemsize
        cdef const char* item = <const char*> view.buf
        cdef uint64_t offset
        for index in range(view.shape[0]):
            offset = read_item(item, view.itemsize)
            if form == SIGNED and offset >> (bits - 1):
                raise IndexError(f"offset at index {index} is negative")
            if offset > self.last:
                raise IndexError(f"offset {offset} is out of bounds: the capacity is {self.capacity}")
            self.change(offset, FULL)
            item += view.strides[0]
        return 0

    def to_numpy(self):
        """to_numpy() -> numpy.ndarray. The used offsets in order, as ``uint64``.

        ``OverflowError`` if one is 2**64 or above. Needs NumPy.
        """
        import numpy
        cdef u128 high = <u128> 1 << 64
        cdef Py_buffer view
        if lowest_used(self.tree(), &high):
            raise OverflowError(f"offset {number_of(high)} is too high for uint64")
        array = numpy.empty(self.total(), dtype=numpy.uint64)
        PyObject_GetBuffer(array, &view, PyBUF_CONTIG)
        try:
            if self.used != <u128> view.shape[0] or lowest_used(self.tree(), &high):
                raise RuntimeError("another thread changed the set while it was read")
            if self.used:
                write_offsets(self.tree(), <uint64_t*> view.buf)
        finally:
            PyBuffer_Release(&view)
        return array

    @staticmethod
    def from_bytes(data, capacity=None, /):
        """from_bytes(data, capacity=None) -> Bitmap

        The set whose offset ``i`` is used if bit ``i % 8``, counted from the lowest, of byte ``i // 8``
        of a buffer is set. What the buffer is too short for is free.
        """
        cdef Bitmap bitmap = Bitmap(capacity)
        cdef Py_buffer view
        try:
            PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        except (BufferError, ValueError):
            # Not contiguous (NumPy says so by ValueError): bring it in order first.
            PyObject_GetBuffer(memoryview(data).tobytes(), &view, PyBUF_SIMPLE)
        try:
            bitmap.use_bits(<const uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)
        return bitmap

    cdef int use_bits(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef uint64_t slots[64]
        cdef u128 first = 0, beyond = self.last
        cdef int slot
        cdef Py_ssize_t part
        while size > 0:
            part = min(size, <Py_ssize_t> sizeof(slots))
            memset(slots, 0, sizeof(slots))
            memcpy(slots, data, part)
            for slot in range(64):
                slots[slot] = little_endian(slots[slot])
            self.paint(first, first | (PAGE - 1), FULL, slots)
            first += PAGE
            data += part
            size -= part
        self.recount()
        beyond += 1
        if beyond != 0 and lowest_used(self.tree(), &beyond):
            raise ValueError(f"bit {number_of(beyond)} is set, but the capacity is {self.capacity}")
        return 0

    def to_bytes(self, start=0, stop=None, /):
        """to_bytes(start=0, stop=None) -> bytes

        The interval as bits: bit ``i % 8``, counted from the lowest, of byte ``i // 8`` is offset
        ``start + i``. The bits of the last byte behind the interval are 0.
        """
        cdef u128 low = 0, high = 0
        cdef size_t words
        cdef uint64_t* buffer
        cdef Node* root
        if not self.read_interval(start, stop, &low, &high):
            return b""
        if high - low >= <u128> 1 << 62:
            raise MemoryError(f"{number_of(high - low + 1)} bits do not fit in memory")
        root = self.tree()
        words = <size_t> ((high >> 6) - (low >> 6)) + 1
        buffer = <uint64_t*> PyMem_Calloc(words, sizeof(uint64_t))
        if buffer == NULL:
            raise MemoryError()
        try:
            if root != NULL:
                copy_words(root, low & ~<u128> 63, high | 63, buffer)
            arrange(buffer, words, <int> (low & 63), <int> (high & 63))
            return PyBytes_FromStringAndSize(<char*> buffer, <Py_ssize_t> ((high - low) >> 3) + 1)
        finally:
            PyMem_Free(buffer)


cdef void arrange(uint64_t* words, size_t count, int skipped, int last) noexcept:
    """Cut words to the bits up to bit ``last`` of the last one, move them down by ``skipped``, and put them
    in the byte order of a buffer."""
    cdef size_t index
    words[count - 1] &= FULL >> (63 - last)
    for index in range(count):
        if skipped:
            words[index] >>= skipped
            if index + 1 < count:
                words[index] |= words[index + 1] << (64 - skipped)
        words[index] = little_endian(words[index])


@cython.final
cdef class Offsets:
    """Iterator over the used offsets of a bitmap, in order."""

    cdef Bitmap bitmap
    cdef u128 at
    cdef bint done

    def __iter__(self):
        return self

    def __next__(self):
        cdef u128 at = self.at
        if self.done or self.bitmap is None or not lowest_used(self.bitmap.tree(), &at):
            self.done = True
            raise StopIteration
        self.at = at + 1
        self.done = self.at == 0
        return number_of(at)


@cython.final
cdef class Runs:
    """Iterator over the runs of used offsets of a bitmap, in order."""

    cdef Bitmap bitmap
    cdef u128 at
    cdef bint done

    def __iter__(self):
        return self

    def __next__(self):
        cdef u128 start = self.at, stop
        if self.done or self.bitmap is None or not lowest_used(self.bitmap.tree(), &start):
            self.done = True
            raise StopIteration
        stop = start
        self.done = not lowest_free(self.bitmap.tree(), &stop)
        self.at = stop
        return number_of(start), 1 << 128 if self.done else number_of(stop)
