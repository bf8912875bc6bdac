// Drive an echo server in a closed loop: load MODE PORTS CONNECTIONS SIZE_BYTES WARMUP_S SECONDS PID
//
// Each connection has exactly one request in flight, and every answer is compared with its request.
// MODE is one of
//   stream     requests over TCP connections that stay,
//   connect    a TCP connection for each request, which the server closes after its answer,
//   datagram   requests over UDP.
// PORTS are separated by commas; the connections use them in turn.
// The CPU time of the server (process PID, all its threads) is read at both ends of the measured
// time, so that neither its start nor the warm-up counts. Prints one line of JSON.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

#include "net.h"

enum { EVENTS_MAX = 512, ANSWER_TIMEOUT_MS = 5000 };

struct connection {
    int fd;
    size_t received;
    uint64_t sent_ns;
    struct sockaddr_in address;
};

static enum { STREAM, CONNECT, DATAGRAM } mode;
static size_t size_bytes;
static char *request;
static char *answer;

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        die("clock_gettime");
    return (uint64_t)time.tv_sec * 1000000000u + time.tv_nsec;
}

// The latencies of the measured requests, in nanoseconds; grown when it is full.
static struct {
    uint32_t *values;
    size_t count, capacity;
} latencies;

static void record(uint64_t latency_ns)
{
    if (latencies.count == latencies.capacity) {
        latencies.capacity = latencies.capacity ? latencies.capacity * 2 : 1 << 20;
        latencies.values = realloc(latencies.values, latencies.capacity * sizeof(uint32_t));
        if (latencies.values == NULL)
            die("realloc");
    }
    latencies.values[latencies.count++] = latency_ns > UINT32_MAX ? UINT32_MAX : latency_ns;
}

static int by_value(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile_us(double fraction)
{
    return latencies.count ? latencies.values[(size_t)(latencies.count * fraction)] / 1e3 : 0;
}

static void open_connection(struct connection *connection, int epoll)
{
    int type = mode == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM;
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    struct sockaddr *address = (struct sockaddr *)&connection->address;
    if (fd < 0 || connect(fd, address, sizeof connection->address) < 0)
        die("connect");
    if (mode != DATAGRAM)
        set_nodelay(fd);
    // Room for a whole request, so that no server can make this program wait in send.
    int room = 2 * size_bytes;
    if (size_bytes > BUFFER_BYTES &&
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room) < 0)
        die("SO_SNDBUF");
    connection->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

// After the server has closed its end, a reset leaves no port in TIME_WAIT on either side.
static void close_connection(struct connection *connection)
{
    struct linger reset = {.l_onoff = 1};
    if (setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) < 0)
        die("SO_LINGER");
    close(connection->fd);
}

static void send_request(struct connection *connection, int epoll)
{
    connection->received = 0;
    connection->sent_ns = read_clock(CLOCK_MONOTONIC);
    if (mode == CONNECT)
        open_connection(connection, epoll);
    // The socket is blocking for send, and MSG_DONTWAIT is given to recv only.
    if (send(connection->fd, request, size_bytes, MSG_NOSIGNAL) != (ssize_t)size_bytes)
        die("send");
}

// Take what has arrived; true once the answer is complete, and its connection closed if it is to be.
static int receive(struct connection *connection)
{
    size_t done = connection->received;
    ssize_t got = recv(connection->fd, answer, size_bytes - done + (mode == CONNECT), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got == 0 && mode == CONNECT && done == size_bytes) {
        close_connection(connection);
        return 1;
    }
    if (got <= 0)
        die("the server closed a connection");
    if (done + got > size_bytes || memcmp(answer, request + done, got) != 0) {
        fprintf(stderr, "the answer differs from the request\n");
        exit(1);
    }
    connection->received = done + got;
    return connection->received == size_bytes && mode != CONNECT;
}

static struct connection *connect_all(int epoll, const char *ports, int count)
{
    struct connection *connections = calloc(count, sizeof *connections);
    const char *rest = ports;
    for (int i = 0; i < count; i++) {
        char *end;
        connections[i].address = loopback(strtol(rest, &end, 10));
        rest = *end ? end + 1 : ports;
        if (mode != CONNECT)
            open_connection(&connections[i], epoll);
    }
    return connections;
}

static int parse_mode(const char *name)
{
    const char *names[] = {"stream", "connect", "datagram"};
    for (int i = 0; i < 3; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    fprintf(stderr, "no such mode: %s\n", name);
    exit(2);
}

// Keep every connection busy until `end_ns`; return when the loop was left.
static uint64_t pump(int epoll, uint64_t end_ns, int measured)
{
    uint64_t now = 0;
    while ((now = read_clock(CLOCK_MONOTONIC)) < end_ns) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll, events, EVENTS_MAX, ANSWER_TIMEOUT_MS);
        if (count == 0) {
            fprintf(stderr, "no answer for %d ms\n", ANSWER_TIMEOUT_MS);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!receive(connection))
                continue;
            if (measured)
                record(read_clock(CLOCK_MONOTONIC) - connection->sent_ns);
            send_request(connection, epoll);
        }
    }
    return now;
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        fprintf(stderr, "usage: load MODE PORTS CONNECTIONS SIZE_BYTES WARMUP_S SECONDS PID\n");
        return 2;
    }
    mode = parse_mode(argv[1]);
    int count = atoi(argv[3]);
    size_bytes = strtoul(argv[4], NULL, 10);
    uint64_t warmup_ns = atof(argv[5]) * 1e9, measured_ns = atof(argv[6]) * 1e9;
    clockid_t server_clock;
    if (clock_getcpuclockid(atoi(argv[7]), &server_clock) != 0)
        die("clock_getcpuclockid");
    request = malloc(size_bytes);
    answer = malloc(size_bytes + 1);
    for (size_t i = 0; i < size_bytes; i++)
        request[i] = (char)(i * 31 + 7);

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = connect_all(epoll, argv[2], count);
    for (int i = 0; i < count; i++)
        send_request(&connections[i], epoll);
    pump(epoll, read_clock(CLOCK_MONOTONIC) + warmup_ns, 0);

    uint64_t server_ns = read_clock(server_clock);
    uint64_t start_ns = read_clock(CLOCK_MONOTONIC);
    double seconds = (pump(epoll, start_ns + measured_ns, 1) - start_ns) / 1e9;
    server_ns = read_clock(server_clock) - server_ns;

    qsort(latencies.values, latencies.count, sizeof(uint32_t), by_value);
    printf("{\"requests\": %zu, \"requests_per_s\": %.1f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
           "\"cpu_us\": %.3f}\n",
           latencies.count, latencies.count / seconds, percentile_us(0.50), percentile_us(0.99),
           latencies.count ? server_ns / 1e3 / latencies.count : 0);
}
