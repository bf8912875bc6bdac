// The limit of the epoll driver: an echo server with nothing between the sockets and epoll_wait.
//
// Level-triggered, each socket registered once; an answer is sent as soon as its request was read.
// Requests of up to BUFFER_BYTES fit the socket's send buffer, so a short send is an error here.
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>

#include "net.h"

enum { EVENTS_MAX = 512 };

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void echo(int fd)
{
    static char buffer[BUFFER_BYTES];
    ssize_t received = recv(fd, buffer, sizeof buffer, 0);
    if (received < 0 && errno == EAGAIN)
        return;
    if (received <= 0 || send(fd, buffer, received, MSG_NOSIGNAL) != received)
        close(fd);
}

int main(void)
{
    int listener = listen_and_tell();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener);
    for (;;) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                echo(events[i].data.fd);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd < 0)
                continue;
            set_nodelay(fd);
            watch(epoll, fd);
        }
    }
}
