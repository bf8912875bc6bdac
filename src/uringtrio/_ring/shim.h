/* The functions of shim.c. cffi parses this text and shim.c includes it, so the two cannot differ.
 *
 * Conventions: a function returns a count or zero, or a negated errno. A function that takes an
 * `id` fills one SQE with that user_data and enters nothing; -EBUSY says that the submission queue
 * is full, so enter and try again. All memory that an SQE names belongs to the caller, who keeps
 * it until the last CQE with that id. */

struct ut_ring;

/* Open and close. `features` gets IORING_FEAT_*. The ring owns everything it returns below. */
int ut_open(struct ut_ring **ring, unsigned entries, unsigned cq_entries, unsigned flags,
            unsigned sq_idle_ms, unsigned *features);
void ut_close_ring(struct ut_ring *ring);
int ut_fd(struct ut_ring *ring);
int ut_dontfork(struct ut_ring *ring);
int ut_limit_workers(struct ut_ring *ring, unsigned bounded, unsigned unbounded);
int ut_eventfd(struct ut_ring *ring, int fd); /* signalled for completions and task work */
int ut_opcodes(struct ut_ring *ring, unsigned char *supported, unsigned count);

/* Shared words, valid until ut_close_ring. */
struct ut_cqe_words *ut_cqes(struct ut_ring *ring);   /* what ut_enter copied out, 16 bytes each */
uint16_t *ut_returned(struct ut_ring *ring);          /* buffer ids to give back at the next enter */
unsigned *ut_sq_flags(struct ut_ring *ring);
unsigned *ut_cq_tail(struct ut_ring *ring);
unsigned *ut_cq_head(struct ut_ring *ring);
uint64_t *ut_counters(struct ut_ring *ring);          /* enters, sqes, cqes, overflows */
unsigned ut_reap_max(void);

/* Provided buffers: `count` (a power of two) buffers of `size` bytes each, from `memory` on. */
int ut_provide(struct ut_ring *ring, void *memory, unsigned size, unsigned count);

/* Give back `returned` buffers, submit all, wait for `wait_nr` CQEs at most timeout_ns (negative:
 * without end; zero: do not wait), after spinning at most spin_ns without a system call. Returns
 * how many CQEs it copied out. Interrupted, timed out and overloaded are not errors: zero CQEs. */
int ut_enter(struct ut_ring *ring, unsigned wait_nr, int64_t timeout_ns, int64_t spin_ns,
             unsigned returned);

/* Submit all without waiting or reaping. Returns how many, or a negated errno. */
int ut_flush(struct ut_ring *ring);

/* One function per opcode. */
int ut_nop(struct ut_ring *ring, uint64_t id);
int ut_recv(struct ut_ring *ring, uint64_t id, int fd, void *buffer, size_t size, int flags);
int ut_recv_provided(struct ut_ring *ring, uint64_t id, int fd, size_t size, int flags);
int ut_recv_multishot(struct ut_ring *ring, uint64_t id, int fd, unsigned total_max);
int ut_send(struct ut_ring *ring, uint64_t id, int fd, void *data, size_t size, int flags);
int ut_recvmsg(struct ut_ring *ring, uint64_t id, int fd, struct msghdr *message, int flags);
int ut_sendmsg(struct ut_ring *ring, uint64_t id, int fd, struct msghdr *message, int flags);
int ut_accept(struct ut_ring *ring, uint64_t id, int fd, void *address, unsigned *size, int flags);
int ut_connect(struct ut_ring *ring, uint64_t id, int fd, void *address, unsigned size);
int ut_shutdown(struct ut_ring *ring, uint64_t id, int fd, int how);
int ut_close(struct ut_ring *ring, uint64_t id, int fd);
int ut_poll(struct ut_ring *ring, uint64_t id, int fd, unsigned events);
int ut_read(struct ut_ring *ring, uint64_t id, int fd, void *buffer, size_t size, int64_t offset);
int ut_write(struct ut_ring *ring, uint64_t id, int fd, void *data, size_t size, int64_t offset);
int ut_readv(struct ut_ring *ring, uint64_t id, int fd, struct iovec *vectors, unsigned count,
             int64_t offset);
int ut_writev(struct ut_ring *ring, uint64_t id, int fd, struct iovec *vectors, unsigned count,
              int64_t offset);
int ut_fsync(struct ut_ring *ring, uint64_t id, int fd, unsigned flags);
int ut_openat(struct ut_ring *ring, uint64_t id, char *path, int flags, unsigned mode);
int ut_statx(struct ut_ring *ring, uint64_t id, int dir, char *path, int flags, unsigned mask,
             void *result);
int ut_rename(struct ut_ring *ring, uint64_t id, char *old_path, char *new_path);
int ut_unlink(struct ut_ring *ring, uint64_t id, char *path, int flags);
int ut_mkdir(struct ut_ring *ring, uint64_t id, char *path, unsigned mode);
int ut_symlink(struct ut_ring *ring, uint64_t id, char *target, char *path);
int ut_link(struct ut_ring *ring, uint64_t id, char *old_path, char *new_path);
int ut_splice(struct ut_ring *ring, uint64_t id, int source, int64_t source_offset, int sink,
              int64_t sink_offset, unsigned size, unsigned flags); /* offset -1: none */
int ut_send_zc(struct ut_ring *ring, uint64_t id, int fd, void *data, size_t size, int flags);
int ut_cancel(struct ut_ring *ring, uint64_t target);
