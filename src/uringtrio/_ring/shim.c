/* The thin C shim: fills SQEs, enters the kernel, and copies CQEs out as flat words.
 *
 * No policy, no callback, and no allocation while an op is in flight. Each function returns a
 * count or a negated errno and never sets errno. Every function is called by the one thread that
 * opened the ring. */

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "shim.h"

/* CQEs that one enter hands out at most; the rest wait in the CQ. A batch of 64 has amortised its
 * system call, and its answers go out before the next batch is looked at: 256 was no faster in
 * benchmarks/echo.py, 16 slower by 8 %. */
#define UT_REAP_MAX 64

/* Newer than the headers of an old liburing. */
#ifndef IORING_SQ_TASKRUN
#define IORING_SQ_TASKRUN (1U << 2)
#endif
#define UT_OP_SEND_ZC 47
#define UT_RECV_MULTISHOT (1U << 1)

struct ut_cqe_words {
    uint64_t id;
    int32_t res;
    uint32_t flags;
};

enum { UT_ENTERS, UT_SQES, UT_CQES, UT_OVERFLOWS, UT_COUNTERS };

struct ut_ring {
    struct io_uring ring;
    struct io_uring_buf_ring *buffers; /* owned; NULL until ut_provide */
    char *memory;                      /* borrowed from the caller of ut_provide */
    unsigned buffer_size;
    unsigned buffer_count;
    uint64_t counters[UT_COUNTERS];
    struct ut_cqe_words cqes[UT_REAP_MAX];
    uint16_t returned[UT_REAP_MAX];
};

int ut_open(struct ut_ring **out, unsigned entries, unsigned cq_entries, unsigned flags,
            unsigned sq_idle_ms, unsigned *features)
{
    struct io_uring_params params = {
        .flags = flags, .cq_entries = cq_entries, .sq_thread_idle = sq_idle_ms};
    struct ut_ring *r = calloc(1, sizeof *r);
    int ret;

    if (!r)
        return -ENOMEM;
    ret = io_uring_queue_init_params(entries, &r->ring, &params);
    if (ret < 0) {
        free(r);
        return ret;
    }
    /* Saves the lookup of the ring's fd on each enter (5.18); without it all works the same. */
    (void)io_uring_register_ring_fd(&r->ring);
    *features = params.features;
    *out = r;
    return 0;
}

void ut_close_ring(struct ut_ring *r)
{
    io_uring_queue_exit(&r->ring);
    free(r->buffers);
    free(r);
}

int ut_fd(struct ut_ring *r) { return r->ring.ring_fd; }

int ut_dontfork(struct ut_ring *r) { return io_uring_ring_dontfork(&r->ring); }

int ut_limit_workers(struct ut_ring *r, unsigned bounded, unsigned unbounded)
{
    unsigned values[2] = {bounded, unbounded};
    return io_uring_register_iowq_max_workers(&r->ring, values);
}

int ut_eventfd(struct ut_ring *r, int fd) { return io_uring_register_eventfd(&r->ring, fd); }

int ut_opcodes(struct ut_ring *r, unsigned char *supported, unsigned count)
{
    struct io_uring_probe *probe = io_uring_get_probe_ring(&r->ring);
    unsigned op;

    if (!probe)
        return -EINVAL;
    for (op = 0; op < count && op <= probe->last_op; op++)
        supported[op] = (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
    io_uring_free_probe(probe);
    return (int)op;
}

struct ut_cqe_words *ut_cqes(struct ut_ring *r) { return r->cqes; }
uint16_t *ut_returned(struct ut_ring *r) { return r->returned; }
unsigned *ut_sq_flags(struct ut_ring *r) { return r->ring.sq.kflags; }
unsigned *ut_cq_tail(struct ut_ring *r) { return r->ring.cq.ktail; }
unsigned *ut_cq_head(struct ut_ring *r) { return r->ring.cq.khead; }
uint64_t *ut_counters(struct ut_ring *r) { return r->counters; }
unsigned ut_reap_max(void) { return UT_REAP_MAX; }

static void give_back(struct ut_ring *r, unsigned buffer, int offset)
{
    io_uring_buf_ring_add(r->buffers, r->memory + (size_t)buffer * r->buffer_size, r->buffer_size,
                          (unsigned short)buffer, io_uring_buf_ring_mask(r->buffer_count), offset);
}

int ut_provide(struct ut_ring *r, void *memory, unsigned size, unsigned count)
{
    struct io_uring_buf_reg registration = {.ring_entries = count, .bgid = 0};
    size_t bytes = count * sizeof(struct io_uring_buf);
    void *ring_memory = NULL;
    unsigned i;
    int ret;

    if (posix_memalign(&ring_memory, 4096, bytes))
        return -ENOMEM;
    memset(ring_memory, 0, bytes);
    registration.ring_addr = (uint64_t)(uintptr_t)ring_memory;
    ret = io_uring_register_buf_ring(&r->ring, &registration, 0);
    if (ret < 0) {
        free(ring_memory);
        return ret;
    }
    r->buffers = ring_memory;
    r->memory = memory;
    r->buffer_size = size;
    r->buffer_count = count;
    io_uring_buf_ring_init(r->buffers);
    for (i = 0; i < count; i++)
        give_back(r, i, (int)i);
    io_uring_buf_ring_advance(r->buffers, (int)count);
    return 0;
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whether the kernel has something for us: CQEs, deferred task work, or an overflow to flush. */
static int has_news(struct ut_ring *r)
{
    unsigned flags = IO_URING_READ_ONCE(*r->ring.sq.kflags);
    return io_uring_cq_ready(&r->ring) || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW));
}

/* The bounded busy-poll: trades CPU for the wake-up latency of the scheduler. Returns what is left
 * of timeout_ns. */
static int64_t spin(struct ut_ring *r, int64_t spin_ns, int64_t timeout_ns)
{
    int64_t start = now_ns(), spent = 0;

    io_uring_submit(&r->ring);
    r->counters[UT_ENTERS]++;
    if (timeout_ns >= 0 && timeout_ns < spin_ns)
        spin_ns = timeout_ns;
    while (!has_news(r) && spent < spin_ns)
        spent = now_ns() - start;
    if (timeout_ns < 0)
        return timeout_ns;
    return timeout_ns > spent ? timeout_ns - spent : 0;
}

static int reap(struct ut_ring *r)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    int n = 0;

    io_uring_for_each_cqe(&r->ring, head, cqe) {
        if (n == UT_REAP_MAX)
            break;
        r->cqes[n].id = cqe->user_data;
        r->cqes[n].res = cqe->res;
        r->cqes[n].flags = cqe->flags;
        n++;
    }
    io_uring_cq_advance(&r->ring, (unsigned)n);
    r->counters[UT_CQES] += (uint64_t)n;
    return n;
}

int ut_enter(struct ut_ring *r, unsigned wait_nr, int64_t timeout_ns, int64_t spin_ns,
             unsigned returned)
{
    struct io_uring_cqe *first;
    unsigned i;
    int ret;

    for (i = 0; i < returned; i++)
        give_back(r, r->returned[i], (int)i);
    if (returned)
        io_uring_buf_ring_advance(r->buffers, (int)returned);
    r->counters[UT_ENTERS]++;
    r->counters[UT_SQES] += io_uring_sq_ready(&r->ring);
    if (spin_ns && timeout_ns)
        timeout_ns = spin(r, spin_ns, timeout_ns);
    if (timeout_ns == 0) {
#if UT_LIBURING >= 203
        ret = io_uring_submit_and_get_events(&r->ring);
#else
        struct __kernel_timespec none = {0, 0};
        ret = io_uring_submit_and_wait_timeout(&r->ring, &first, wait_nr, &none, NULL);
#endif
    } else if (timeout_ns < 0) {
        ret = io_uring_submit_and_wait(&r->ring, wait_nr);
    } else {
        struct __kernel_timespec limit = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        ret = io_uring_submit_and_wait_timeout(&r->ring, &first, wait_nr, &limit, NULL);
    }
    (void)first;
    if (IO_URING_READ_ONCE(*r->ring.sq.kflags) & IORING_SQ_CQ_OVERFLOW)
        r->counters[UT_OVERFLOWS]++;
    switch (ret < 0 ? -ret : 0) {
    case 0:
    case ETIME:  /* nothing came in time */
    case EINTR:  /* a signal: the caller runs Python's handlers and enters again */
    case EAGAIN: /* the kernel is short of memory, or ... */
    case EBUSY:  /* ... the CQ has overflowed: reap, then enter again */
        return reap(r);
    default:
        return ret;
    }
}

int ut_flush(struct ut_ring *r)
{
    r->counters[UT_ENTERS]++;
    r->counters[UT_SQES] += io_uring_sq_ready(&r->ring);
    return io_uring_submit(&r->ring);
}

/* Fill one SQE: evaluates PREP with `sqe` in scope. */
#define UT_PREPARE(r, id, PREP)                                \
    struct io_uring_sqe *sqe = io_uring_get_sqe(&(r)->ring);   \
    if (!sqe)                                                  \
        return -EBUSY;                                         \
    PREP;                                                      \
    sqe->user_data = (id);                                     \
    return 0

int ut_nop(struct ut_ring *r, uint64_t id) { UT_PREPARE(r, id, io_uring_prep_nop(sqe)); }

int ut_recv(struct ut_ring *r, uint64_t id, int fd, void *buffer, size_t size, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_recv(sqe, fd, buffer, size, flags));
}

int ut_recv_provided(struct ut_ring *r, uint64_t id, int fd, size_t size, int flags)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

    if (!sqe)
        return -EBUSY;
    io_uring_prep_recv(sqe, fd, NULL, size, flags);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = id;
    return 0;
}

/* Ends by itself with the CQE that makes it `total_max` bytes, or more by a part of a buffer. */
int ut_recv_multishot(struct ut_ring *r, uint64_t id, int fd, unsigned total_max)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

    if (!sqe)
        return -EBUSY;
    io_uring_prep_recv(sqe, fd, NULL, 0, 0);
    sqe->ioprio |= UT_RECV_MULTISHOT;
    sqe->file_index = total_max; /* `optlen` in newer headers; -EINVAL before Linux 6.17 */
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    sqe->user_data = id;
    return 0;
}

int ut_send(struct ut_ring *r, uint64_t id, int fd, void *data, size_t size, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_send(sqe, fd, data, size, flags));
}

int ut_recvmsg(struct ut_ring *r, uint64_t id, int fd, struct msghdr *message, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_recvmsg(sqe, fd, message, (unsigned)flags));
}

int ut_sendmsg(struct ut_ring *r, uint64_t id, int fd, struct msghdr *message, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_sendmsg(sqe, fd, message, (unsigned)flags));
}

int ut_accept(struct ut_ring *r, uint64_t id, int fd, void *address, unsigned *size, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_accept(sqe, fd, address, size, flags));
}

int ut_connect(struct ut_ring *r, uint64_t id, int fd, void *address, unsigned size)
{
    UT_PREPARE(r, id, io_uring_prep_connect(sqe, fd, address, size));
}

int ut_shutdown(struct ut_ring *r, uint64_t id, int fd, int how)
{
    UT_PREPARE(r, id, io_uring_prep_shutdown(sqe, fd, how));
}

int ut_close(struct ut_ring *r, uint64_t id, int fd)
{
    UT_PREPARE(r, id, io_uring_prep_close(sqe, fd));
}

int ut_poll(struct ut_ring *r, uint64_t id, int fd, unsigned events)
{
    UT_PREPARE(r, id, io_uring_prep_poll_add(sqe, fd, events));
}

int ut_read(struct ut_ring *r, uint64_t id, int fd, void *buffer, size_t size, int64_t offset)
{
    UT_PREPARE(r, id, io_uring_prep_read(sqe, fd, buffer, (unsigned)size, (uint64_t)offset));
}

int ut_write(struct ut_ring *r, uint64_t id, int fd, void *data, size_t size, int64_t offset)
{
    UT_PREPARE(r, id, io_uring_prep_write(sqe, fd, data, (unsigned)size, (uint64_t)offset));
}

int ut_readv(struct ut_ring *r, uint64_t id, int fd, struct iovec *vectors, unsigned count,
             int64_t offset)
{
    UT_PREPARE(r, id, io_uring_prep_readv(sqe, fd, vectors, count, (uint64_t)offset));
}

int ut_writev(struct ut_ring *r, uint64_t id, int fd, struct iovec *vectors, unsigned count,
              int64_t offset)
{
    UT_PREPARE(r, id, io_uring_prep_writev(sqe, fd, vectors, count, (uint64_t)offset));
}

int ut_fsync(struct ut_ring *r, uint64_t id, int fd, unsigned flags)
{
    UT_PREPARE(r, id, io_uring_prep_fsync(sqe, fd, flags));
}

int ut_openat(struct ut_ring *r, uint64_t id, char *path, int flags, unsigned mode)
{
    UT_PREPARE(r, id, io_uring_prep_openat(sqe, AT_FDCWD, path, flags, mode));
}

int ut_statx(struct ut_ring *r, uint64_t id, int dir, char *path, int flags, unsigned mask,
             void *result)
{
    UT_PREPARE(r, id, io_uring_prep_statx(sqe, dir, path, flags, mask, result));
}

int ut_rename(struct ut_ring *r, uint64_t id, char *old_path, char *new_path)
{
    UT_PREPARE(r, id, io_uring_prep_renameat(sqe, AT_FDCWD, old_path, AT_FDCWD, new_path, 0));
}

int ut_unlink(struct ut_ring *r, uint64_t id, char *path, int flags)
{
    UT_PREPARE(r, id, io_uring_prep_unlinkat(sqe, AT_FDCWD, path, flags));
}

int ut_mkdir(struct ut_ring *r, uint64_t id, char *path, unsigned mode)
{
    UT_PREPARE(r, id, io_uring_prep_mkdirat(sqe, AT_FDCWD, path, mode));
}

int ut_symlink(struct ut_ring *r, uint64_t id, char *target, char *path)
{
    UT_PREPARE(r, id, io_uring_prep_symlinkat(sqe, target, AT_FDCWD, path));
}

int ut_link(struct ut_ring *r, uint64_t id, char *old_path, char *new_path)
{
    UT_PREPARE(r, id, io_uring_prep_linkat(sqe, AT_FDCWD, old_path, AT_FDCWD, new_path, 0));
}

int ut_splice(struct ut_ring *r, uint64_t id, int source, int64_t source_offset, int sink,
              int64_t sink_offset, unsigned size, unsigned flags)
{
    UT_PREPARE(r, id, io_uring_prep_splice(sqe, source, source_offset, sink, sink_offset, size,
                                           flags));
}

/* A send but for its opcode: two CQEs, of which the last says that the data is free. */
int ut_send_zc(struct ut_ring *r, uint64_t id, int fd, void *data, size_t size, int flags)
{
    UT_PREPARE(r, id, {
        io_uring_prep_send(sqe, fd, data, size, flags);
        sqe->opcode = UT_OP_SEND_ZC;
    });
}

/* The cancel's own CQE carries id 0, which no op has. */
int ut_cancel(struct ut_ring *r, uint64_t target)
{
    UT_PREPARE(r, 0, io_uring_prep_cancel64(sqe, target, 0));
}
