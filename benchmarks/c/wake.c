/* How one thread with a ring wakes another: wake METHOD ROUND_TRIPS
 *
 * Two threads, on the first and the last CPU that there are to use, wake each other in turn, each
 * asleep in its own ring meanwhile. METHOD is "eventfd",
 * "socketpair" or "msg_ring". Prints the round trips' p50 and p99 and the CPU time of each, both
 * threads together, in microseconds, as JSON. */

#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum method { EVENTFD, SOCKETPAIR, MSG_RING };

struct side {
    struct io_uring ring;
    int reader; /* armed in the ring; what the other side writes to is `writer` */
    int writer;
    char buffer[8];
};

static enum method method;
static long round_trips;
static double *micros;
static struct side sides[2];
static pthread_barrier_t ready;

static void fail(const char *what, int error)
{
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(1);
}

static double now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void pin(int is_first)
{
    cpu_set_t usable, one;
    int cpu = is_first ? 0 : CPU_SETSIZE - 1;

    sched_getaffinity(0, sizeof usable, &usable);
    while (!CPU_ISSET(cpu, &usable))
        cpu += is_first ? 1 : -1;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static struct io_uring_sqe *next_sqe(struct side *s) { return io_uring_get_sqe(&s->ring); }

static void arm(struct side *s)
{
    if (method == EVENTFD)
        io_uring_prep_read(next_sqe(s), s->reader, s->buffer, 8, 0);
    else if (method == SOCKETPAIR)
        io_uring_prep_recv(next_sqe(s), s->reader, s->buffer, 8, 0);
}

static void wake(struct side *s, struct side *other)
{
    uint64_t one = 1;
    struct io_uring_sqe *sqe;

    if (method == MSG_RING) {
        sqe = next_sqe(s);
        io_uring_prep_msg_ring(sqe, other->ring.ring_fd, 0, 0, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    } else if (write(other->writer, &one, method == EVENTFD ? 8 : 1) < 0) {
        fail("write", errno);
    }
}

static void wait_for_wake(struct side *s)
{
    struct io_uring_cqe *cqe;
    int error = io_uring_submit_and_wait(&s->ring, 1);

    if (error < 0 || (error = io_uring_peek_cqe(&s->ring, &cqe)) < 0 || (error = cqe->res) < 0)
        fail("wait", -error);
    io_uring_cqe_seen(&s->ring, cqe);
    arm(s);
}

static void *play(void *argument)
{
    struct side *s = argument, *other = s == sides ? sides + 1 : sides;
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                              IORING_SETUP_DEFER_TASKRUN};
    int error = io_uring_queue_init_params(8, &s->ring, &params);
    double begin;

    if (error < 0)
        fail("io_uring_setup", -error);
    pin(s == sides);
    arm(s);
    pthread_barrier_wait(&ready);
    for (long i = 0; i < round_trips; i++) {
        begin = now_us(CLOCK_MONOTONIC);
        if (s == sides)
            wake(s, other);
        wait_for_wake(s);
        if (s != sides)
            wake(s, other);
        micros[i] = s == sides ? now_us(CLOCK_MONOTONIC) - begin : micros[i];
    }
    io_uring_submit(&s->ring);
    /* The other one may still send its last wake to this ring. */
    pthread_barrier_wait(&ready);
    io_uring_queue_exit(&s->ring);
    return NULL;
}

static void open_descriptors(struct side *s)
{
    int pair[2];

    if (method == EVENTFD) {
        s->reader = s->writer = eventfd(0, 0);
    } else if (method == SOCKETPAIR) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
            fail("socketpair", errno);
        s->reader = pair[0];
        s->writer = pair[1];
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"eventfd", "socketpair", "msg_ring"};
    pthread_t threads[2];
    double cpu;

    if (argc != 3 || (round_trips = atol(argv[2])) < 1)
        fail("usage: wake METHOD ROUND_TRIPS", EINVAL);
    while (method < MSG_RING && strcmp(argv[1], names[method]))
        method++;
    micros = calloc((size_t)round_trips, sizeof *micros);
    pthread_barrier_init(&ready, NULL, 2);
    cpu = now_us(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < 2; i++)
        open_descriptors(sides + i);
    for (int i = 0; i < 2; i++)
        pthread_create(threads + i, NULL, play, sides + i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cpu = now_us(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(micros, (size_t)round_trips, sizeof *micros, compare);
    printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"cpu_us\": %.2f}\n", micros[round_trips / 2],
           micros[round_trips * 99 / 100], cpu / round_trips);
    return 0;
}
