/* The functions of shared_queue.c. cffi parses this text and shared_queue.c includes it.
 *
 * A queue of objects, which are bytes, in memory that processes map. `_shards/shared_buffer.py`
 * owns the layout and says how it works. Here is only what is done for each object while nobody
 * has to wait, to be woken, to move the queue, or to look whether the other processes live. */

/* Indices of the words in the header, as in `_shards/shared_buffer.py`, which says what they are.
 * Those that senders write for each object, and those that receivers write, have cache lines of
 * their own. */
enum ut_queue_word {
    UT_GENERATION = 0,
    UT_AREAS = 1,
    UT_LIMIT = 5,
    UT_TAIL = 8,
    UT_ITEMS_SIGNALLED = 9,
    UT_HEAD = 16,
    UT_ROOM_SIGNALLED = 17,
    UT_RECEIVERS_WAITING = 24,
    UT_SENDERS_WAITING = 25,
    UT_SENDERS_OPEN = 26,
    UT_RECEIVERS_OPEN = 27,
    UT_SENDERS_LOCK = 32,
    UT_RECEIVERS_LOCK = 40,
    UT_HEADER_WORDS = 48
};

/* The bits of a place in bytes, in a word of HEAD or TAIL; and how seldom a sender goes the long
 * way to look whether the receivers live. Both are in `_shards/shared_buffer.py` too. */
enum { UT_PLACE_BITS = 36, UT_LOOK_EVERY = 64 };

/* Make the two locks, which outlive the death of whoever holds them. `words` is the header. */
int ut_queue_init(uint64_t *words);

/* Take both locks, and give them up, in the same thread. */
int ut_queue_lock(uint64_t *words);
int ut_queue_unlock(uint64_t *words);

/* Append an object and return 1; or return 0 if that takes more than this function does, or is not
 * allowed any more. `memory` is the file as it was mapped in `*generation`, a word of this process
 * that changes only while both locks are held. */
int ut_queue_put(uint64_t *words, char *memory, uint64_t *generation, const char *data,
                 size_t size);

/* Copy the first object out, remove it, and return its size; or return -EAGAIN likewise, also if
 * there is none, or if it is longer than `room`. */
int64_t ut_queue_take(uint64_t *words, char *memory, uint64_t *generation, char *out, size_t room);
