// The limit of the io_uring driver: an echo server with nothing between the sockets and the ring.
//
// One recv and one send for each request, as in a server that awaits both; one enter submits a
// whole batch and waits for the next. A connection is either receiving or sending.
#define _GNU_SOURCE
#include <errno.h>
#include <liburing.h>

#include "net.h"

// Linux 6.1; older headers lack them.
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

enum { ENTRIES = 1024 };

struct connection {
    int fd;
    int sending;
    char buffer[BUFFER_BYTES];
};

static struct io_uring ring;

static struct io_uring_sqe *next_sqe(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (sqe == NULL) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void submit_accept(int listener)
{
    struct io_uring_sqe *sqe = next_sqe();
    io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    io_uring_sqe_set_data(sqe, NULL);
}

static void submit_recv(struct connection *connection)
{
    struct io_uring_sqe *sqe = next_sqe();
    connection->sending = 0;
    io_uring_prep_recv(sqe, connection->fd, connection->buffer, BUFFER_BYTES, 0);
    io_uring_sqe_set_data(sqe, connection);
}

static void submit_send(struct connection *connection, int size)
{
    struct io_uring_sqe *sqe = next_sqe();
    connection->sending = 1;
    io_uring_prep_send(sqe, connection->fd, connection->buffer, size, MSG_WAITALL | MSG_NOSIGNAL);
    io_uring_sqe_set_data(sqe, connection);
}

static void complete(struct connection *connection, int res, int listener)
{
    if (connection == NULL) {
        submit_accept(listener);
        if (res < 0)
            return;
        set_nodelay(res);
        connection = malloc(sizeof *connection);
        if (connection == NULL)
            die("malloc");
        connection->fd = res;
        submit_recv(connection);
    } else if (res <= 0) {
        close(connection->fd);
        free(connection);
    } else if (connection->sending) {
        submit_recv(connection);
    } else {
        submit_send(connection, res);
    }
}

int main(void)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    int res = io_uring_queue_init_params(ENTRIES, &ring, &params);
    if (res == -EINVAL) {
        // A kernel before 6.1.
        memset(&params, 0, sizeof params);
        res = io_uring_queue_init_params(ENTRIES, &ring, &params);
    }
    if (res < 0) {
        fprintf(stderr, "io_uring_setup: %s\n", strerror(-res));
        return 1;
    }
    int listener = listen_and_tell();
    submit_accept(listener);
    for (;;) {
        res = io_uring_submit_and_wait(&ring, 1);
        if (res < 0 && res != -EINTR)
            die("io_uring_enter");
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        io_uring_for_each_cqe(&ring, head, cqe) {
            complete(io_uring_cqe_get_data(cqe), cqe->res, listener);
            count++;
        }
        io_uring_cq_advance(&ring, count);
    }
}
