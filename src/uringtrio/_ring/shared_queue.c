/* Queues of objects between processes: locks that survive a death, append, and take.
 *
 * Facts. A process may be killed between any two instructions. A robust mutex then goes to the next
 * who wants it, and an append or a take is one store of one word, before which nothing has happened
 * and after which everything has. So there is never anything to repair.
 *
 * Senders and receivers have a lock each and do not wait for each other. Each side reads the word
 * that the other one stores: acquire and release make what stands before it visible. The words that
 * waiting is about change only while both locks are held. */

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "shared_queue.h"

/* Of a word of HEAD or TAIL: the number of the object, above its place in bytes. */
#define UT_PLACE_MASK ((UINT64_C(1) << UT_PLACE_BITS) - 1)
#define UT_COUNT_MASK ((UINT64_C(1) << (64 - UT_PLACE_BITS)) - 1)

/* Attempts to take a lock before sleeping until it is free, a few microseconds together: the others
 * hold it for less, and sleeping takes longer. */
#define UT_SPINS 50

typedef uint32_t ut_prefix; /* the size, before each object */

_Static_assert(sizeof(pthread_mutex_t) <= 8 * sizeof(uint64_t), "a lock fits its cache line");

static pthread_mutex_t *lock_at(uint64_t *words, int index)
{
    return (pthread_mutex_t *)(void *)(words + index);
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int take_lock(uint64_t *words, int index)
{
    pthread_mutex_t *mutex = lock_at(words, index);
    int error = EBUSY;

    for (int spins = 0; error == EBUSY && spins < UT_SPINS; spins++) {
        error = pthread_mutex_trylock(mutex);
        if (error == EBUSY)
            relax();
    }
    if (error == EBUSY)
        error = pthread_mutex_lock(mutex);
    return error == EOWNERDEAD ? pthread_mutex_consistent(mutex) : error;
}

int ut_queue_init(uint64_t *words)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);

    if (error)
        return -error;
    error = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (!error)
        error = pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (!error)
        error = pthread_mutex_init(lock_at(words, UT_SENDERS_LOCK), &attributes);
    if (!error)
        error = pthread_mutex_init(lock_at(words, UT_RECEIVERS_LOCK), &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

int ut_queue_lock(uint64_t *words)
{
    int error = take_lock(words, UT_SENDERS_LOCK);

    if (error)
        return -error;
    error = take_lock(words, UT_RECEIVERS_LOCK);
    if (error)
        pthread_mutex_unlock(lock_at(words, UT_SENDERS_LOCK));
    return -error;
}

int ut_queue_unlock(uint64_t *words)
{
    int error = pthread_mutex_unlock(lock_at(words, UT_RECEIVERS_LOCK));
    int other = pthread_mutex_unlock(lock_at(words, UT_SENDERS_LOCK));

    return -(error ? error : other);
}

static uint64_t next_word(uint64_t word, size_t size)
{
    uint64_t number = (word >> UT_PLACE_BITS) + 1;
    uint64_t place = (word + sizeof(ut_prefix) + size) & UT_PLACE_MASK;

    return number << UT_PLACE_BITS | place;
}

static void copy_in(char *area, uint64_t capacity, uint64_t place, const void *data, size_t size)
{
    uint64_t start = place % capacity;
    size_t first = size <= capacity - start ? size : capacity - start;

    memcpy(area + start, data, first);
    memcpy(area, (const char *)data + first, size - first);
}

static void copy_out(const char *area, uint64_t capacity, uint64_t place, void *data, size_t size)
{
    uint64_t start = place % capacity;
    size_t first = size <= capacity - start ? size : capacity - start;

    memcpy(data, area + start, first);
    memcpy((char *)data + first, area, size - first);
}

int ut_queue_put(uint64_t *w, char *memory, uint64_t *generation, const char *data, size_t size)
{
    uint64_t head, tail, count, limit, used, *area;
    ut_prefix prefix = (ut_prefix)size;
    int is_plain;

    if (size > UINT32_MAX || take_lock(w, UT_SENDERS_LOCK))
        return 0;
    area = w + UT_AREAS + 2 * (w[UT_GENERATION] & 1);
    tail = w[UT_TAIL];
    head = __atomic_load_n(&w[UT_HEAD], __ATOMIC_ACQUIRE);
    count = ((tail >> UT_PLACE_BITS) - (head >> UT_PLACE_BITS)) & UT_COUNT_MASK;
    /* Without a buffer, there is room for what those who wait are about to take. */
    limit = w[UT_LIMIT] ? w[UT_LIMIT] : w[UT_RECEIVERS_WAITING];
    used = (tail - head) & UT_PLACE_MASK;
    is_plain = w[UT_GENERATION] == *generation && w[UT_RECEIVERS_OPEN] && count < limit &&
               used + sizeof prefix + size <= area[1] &&
               (!w[UT_RECEIVERS_WAITING] || w[UT_ITEMS_SIGNALLED]) &&
               (tail >> UT_PLACE_BITS) % UT_LOOK_EVERY;
    if (is_plain) {
        copy_in(memory + area[0], area[1], tail & UT_PLACE_MASK, &prefix, sizeof prefix);
        copy_in(memory + area[0], area[1], (tail + sizeof prefix) & UT_PLACE_MASK, data, size);
        __atomic_store_n(&w[UT_TAIL], next_word(tail, size), __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(lock_at(w, UT_SENDERS_LOCK));
    return is_plain;
}

int64_t ut_queue_take(uint64_t *w, char *memory, uint64_t *generation, char *out, size_t room)
{
    uint64_t head, *area;
    ut_prefix size;
    int64_t taken = -EAGAIN;

    if (take_lock(w, UT_RECEIVERS_LOCK))
        return taken;
    area = w + UT_AREAS + 2 * (w[UT_GENERATION] & 1);
    head = w[UT_HEAD];
    if (w[UT_GENERATION] == *generation &&
        head != __atomic_load_n(&w[UT_TAIL], __ATOMIC_ACQUIRE) &&
        (!w[UT_SENDERS_WAITING] || w[UT_ROOM_SIGNALLED])) {
        copy_out(memory + area[0], area[1], head & UT_PLACE_MASK, &size, sizeof size);
        if (size <= room) {
            copy_out(memory + area[0], area[1], (head + sizeof size) & UT_PLACE_MASK, out, size);
            __atomic_store_n(&w[UT_HEAD], next_word(head, size), __ATOMIC_RELEASE);
            taken = size;
        }
    }
    pthread_mutex_unlock(lock_at(w, UT_RECEIVERS_LOCK));
    return taken;
}
