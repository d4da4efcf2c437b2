/* The limit: answers every read with a prepared head and sendfile(2), and parses nothing.
 *
 *     floor PORT HEAD BODY [PORT HEAD BODY ...]
 *
 * Each port answers with one pair of files. Linux only. Ends at the first thing that goes wrong.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVENTS = 64, LARGEST_HEAD = 4096 };

struct answer {
    int body;
    off_t length;
    char head[LARGEST_HEAD];
    size_t head_length;
};

struct peer {
    int socket;
    const struct answer *answer; /* of a listener: what its connections are answered */
    int listens;
    int busy;
    size_t head_sent;
    off_t sent;
};

static void check(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(1);
    }
}

static struct answer *load(const char *head, const char *body) {
    struct answer *answer = calloc(1, sizeof *answer);
    struct stat status;
    int file = open(head, O_RDONLY);
    check(answer && file >= 0, head);
    ssize_t length = read(file, answer->head, LARGEST_HEAD);
    check(length > 0, head);
    answer->head_length = (size_t)length;
    close(file);
    answer->body = open(body, O_RDONLY);
    check(answer->body >= 0 && fstat(answer->body, &status) == 0, body);
    answer->length = status.st_size;
    return answer;
}

static void watch(int epoll, int operation, struct peer *peer, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    check(epoll_ctl(epoll, operation, peer->socket, &event) == 0, "epoll_ctl");
}

static void listen_on(int epoll, int port, const struct answer *answer) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct peer *peer = calloc(1, sizeof *peer);
    int one = 1;
    check(peer != NULL, "calloc");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer->socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    check(setsockopt(peer->socket, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0, "setsockopt");
    check(bind(peer->socket, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(peer->socket, 1024) == 0, "listen");
    peer->answer = answer;
    peer->listens = 1;
    watch(epoll, EPOLL_CTL_ADD, peer, EPOLLIN);
}

static void welcome(int epoll, const struct peer *listener) {
    int socket = accept4(listener->socket, NULL, NULL, SOCK_NONBLOCK), one = 1;
    if (socket < 0)
        return;
    struct peer *peer = calloc(1, sizeof *peer);
    check(peer != NULL, "calloc");
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peer->socket = socket;
    peer->answer = listener->answer;
    watch(epoll, EPOLL_CTL_ADD, peer, EPOLLIN);
}

static void leave(struct peer *peer) {
    close(peer->socket);
    free(peer);
}

/* Send what the socket takes. -1: the peer is gone. */
static int go_on(int epoll, struct peer *peer) {
    const struct answer *answer = peer->answer;
    int waits = peer->busy;
    while (peer->head_sent < answer->head_length) {
        int flags = MSG_NOSIGNAL | (answer->length ? MSG_MORE : 0);
        ssize_t count =
            send(peer->socket, answer->head + peer->head_sent, answer->head_length - peer->head_sent, flags);
        if (count < 0)
            goto blocked;
        peer->head_sent += (size_t)count;
    }
    while (peer->sent < answer->length) {
        ssize_t count = sendfile(peer->socket, answer->body, &peer->sent, (size_t)(answer->length - peer->sent));
        if (count <= 0)
            goto blocked;
    }
    peer->busy = 0;
    if (waits)
        watch(epoll, EPOLL_CTL_MOD, peer, EPOLLIN);
    return 0;
blocked:
    if (errno != EAGAIN)
        return -1;
    peer->busy = 1;
    if (!waits)
        watch(epoll, EPOLL_CTL_MOD, peer, EPOLLOUT);
    return 0;
}

static int hear(int epoll, struct peer *peer) {
    static char ignored[65536];
    if (!peer->busy) {
        ssize_t count = read(peer->socket, ignored, sizeof ignored);
        if (count < 0 && errno == EAGAIN)
            return 0;
        if (count <= 0)
            return -1;
        peer->head_sent = 0;
        peer->sent = 0;
    }
    return go_on(epoll, peer);
}

int main(int count, char **arguments) {
    int epoll = epoll_create1(0);
    struct epoll_event events[EVENTS];
    check(epoll >= 0, "epoll_create1");
    signal(SIGPIPE, SIG_IGN);
    for (int at = 1; at + 2 < count; at += 3)
        listen_on(epoll, atoi(arguments[at]), load(arguments[at + 1], arguments[at + 2]));
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            struct peer *peer = events[at].data.ptr;
            if (peer->listens)
                welcome(epoll, peer);
            else if (hear(epoll, peer) < 0)
                leave(peer);
        }
    }
}
