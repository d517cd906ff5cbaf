/*
 * The CNI plugin `whereabouts`: hands one call to the node agent and prints what it answers.
 *
 * A container runtime starts this program for every interface of every pod. It does no address
 * management itself: it puts the CNI environment variables and the configuration from stdin into one
 * frame (docs/agent-protocol.md), sends that over a unix socket, waits for one frame back, and only
 * then writes stdout and exits. So a result is printed whole or not at all, and what goes wrong on the
 * way to the agent is a CNI error that makes the runtime try again. VERSION, and a call without
 * CNI_COMMAND, need no agent.
 *
 * The order of this file: limits, clock and descriptors, errors, the caller's side (stdin and
 * environment), the agent's side (socket, request, answer), main. Memory is static and bounded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef WHEREABOUTS_VERSION
#error "WHEREABOUTS_VERSION must be the package's version, as a string"
#endif

/* How long a call may take, as the Go plugin has it. Tests build with shorter ones. */
#ifndef ADD_DEADLINE_MS
#define ADD_DEADLINE_MS 120000
#endif
#ifndef OTHER_DEADLINE_MS
#define OTHER_DEADLINE_MS 60000
#endif
/* How long to wait for a socket that is not there: an agent that is being replaced is back within
 * seconds, while a failed ADD costs the pod a new sandbox, which the kubelet tries after ten. */
#ifndef CONNECT_WAIT_MS
#define CONNECT_WAIT_MS 5000
#endif
#define CONNECT_PAUSE_MS 20
/* What the caller has, after the deadline, to take the output. */
#define OUTPUT_MS 1000

#define DEFAULT_SOCKET "/run/whereabouts/agent.sock"
#define SOCKET_PATH_FILE "whereabouts.socket-path" /* beside this program; its first line is the path */

enum { CONFIG_MAX = 1 << 20, ENVIRONMENT_MAX = 1 << 16, ANSWER_MAX = 4 << 20 };

/* The frames of docs/agent-protocol.md; whereabouts/agent/framing.py is the other end. */
enum { FRAME_VERSION = 1, KIND_REQUEST = 1, KIND_ANSWER = 2 };
enum { HEAD_SIZE = 12, REQUEST_FIELDS = 44, ANSWER_FIELDS = 12 };
static const uint8_t MAGIC[4] = {'W', 'B', 'T', 'S'};

enum { CNI_ENVIRONMENT = 4, CNI_IO = 5, CNI_DECODING = 6, CNI_TRY_AGAIN = 11, CNI_NOT_AVAILABLE = 50 };

#define SUPPORTED "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""
#define VERSION_RESULT "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[" SUPPORTED "]}\n"
#define ABOUT_VERSIONS "CNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
#if defined(__x86_64__)
#define PLATFORM "linux/amd64"
#elif defined(__aarch64__)
#define PLATFORM "linux/arm64"
#else
#define PLATFORM "linux/other"
#endif

static const char *const ENVIRONMENT[] = {
    "CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS",          "CNI_IFNAME",
    "CNI_ARGS",    "CNI_PATH",        "CNI_NETNS_OVERRIDE",
};
enum { ENVIRONMENT_NAMES = sizeof ENVIRONMENT / sizeof *ENVIRONMENT };

/* This process is one call, and this is its state. */
static const char *command;
static int64_t deadline;
static uint8_t request[HEAD_SIZE + REQUEST_FIELDS + CONFIG_MAX + 1 + ENVIRONMENT_MAX];
static uint8_t *const config = request + HEAD_SIZE + REQUEST_FIELDS;
static size_t config_size;
static uint8_t answer[ANSWER_MAX];

/* ---- clock and descriptors ---- */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits until a descriptor is ready; false with errno, ETIMEDOUT once `until` has come. */
static bool wait_for(int descriptor, short events, int64_t until)
{
    for (;;) {
        int64_t left = until - now_ms();
        struct pollfd waited = {.fd = descriptor, .events = events};
        int ready = poll(&waited, 1, left > 0 ? (int)left : 0);
        if (ready > 0)
            return true;
        if (ready == 0 && left <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

/* A pipe that poll() calls writable takes PIPE_BUF bytes without blocking, so no write asks for more. */
static bool write_all(int descriptor, const void *data, size_t size, int64_t until)
{
    const uint8_t *at = data;
    while (size > 0) {
        if (!wait_for(descriptor, POLLOUT, until))
            return false;
        ssize_t written = write(descriptor, at, size < 4096 ? size : 4096);
        if (written > 0) {
            at += written;
            size -= (size_t)written;
        } else if (written < 0 && errno != EINTR && errno != EAGAIN) {
            return false;
        }
    }
    return true;
}

/* With one of the descriptors 0 to 2 closed, the agent's socket would become it. Opened for reading,
 * so that a stdin that is not there is empty and writing to a stdout that is not there is an error. */
static void hold_standard_descriptors(void)
{
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != descriptor)
            _exit(1);
}

/* ---- errors ---- */

/* Returns the index of the quote that ends the string opened at `open`, or `size`. */
static size_t string_end(const uint8_t *text, size_t size, size_t open)
{
    size_t at = open + 1;
    while (at < size && text[at] != '"')
        at += text[at] == '\\' ? 2 : 1;
    return at < size ? at : size;
}

static bool looks_like_a_version(const uint8_t *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] != '.' && (text[i] < '0' || text[i] > '9'))
            return false;
    return size >= 1 && size <= 16;
}

/*
 * Finds the value of the outermost object's "cniVersion" without parsing the rest: an error must carry
 * the caller's version even if what surrounds it is damaged. Returns the value's size and sets *found;
 * 0 when there is none that looks like a version. The last one wins, as in any JSON parser.
 */
static size_t skim_cni_version(const uint8_t *text, size_t size, const uint8_t **found)
{
    static const char key[] = "cniVersion";
    size_t depth = 0, found_size = 0;
    bool at_key = true, at_version = false;
    for (size_t at = 0; at < size; at++) {
        uint8_t byte = text[at];
        if (depth == 0 && byte != '{' && !(byte != 0 && strchr(" \t\r\n", byte)))
            break;
        if (byte == '{' || byte == '[') {
            depth++;
        } else if (byte == '}' || byte == ']') {
            if (--depth == 0)
                break;
        } else if (byte == '"') {
            const uint8_t *content = text + at + 1;
            size_t end = string_end(text, size, at);
            if (end == size)
                break;
            size_t length = end - at - 1;
            if (depth == 1 && at_key) {
                at_version = length == sizeof key - 1 && memcmp(content, key, length) == 0;
            } else if (depth == 1 && at_version) {
                *found = content;
                found_size = looks_like_a_version(content, length) ? length : 0;
            }
            at = end;
        } else if (depth == 1 && (byte == ':' || byte == ',')) {
            at_key = byte == ',';
        }
    }
    return found_size;
}

/* Writes text as the inside of a JSON string; `into` has room for twice the text. */
static void escape(char *into, const char *text)
{
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte == '"' || byte == '\\')
            *into++ = '\\';
        *into++ = byte < 0x20 || byte > 0x7e ? '?' : (char)byte;
    }
    *into = 0;
}

/* Ends the call with a CNI error: what happened, and `details` with what to do. */
__attribute__((noreturn, format(printf, 3, 4))) static void fail(int code, const char *details,
                                                                 const char *format, ...)
{
    static char message[640], quoted[2 * sizeof message], quoted_details[1024], error[3072];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    escape(quoted, message);
    escape(quoted_details, details);

    const uint8_t *version = (const uint8_t *)"0.1.0"; /* what CNI means by a configuration without one */
    const uint8_t *found = NULL;
    size_t version_size = skim_cni_version(config, config_size, &found);
    if (version_size > 0)
        version = found;
    else
        version_size = strlen("0.1.0");

    int size = snprintf(error, sizeof error,
                        "{\n    \"cniVersion\": \"%.*s\",\n    \"code\": %d,\n    \"msg\": \"%s\",\n"
                        "    \"details\": \"%s\"\n}",
                        (int)version_size, (const char *)version, code, quoted, quoted_details);
    int64_t now = now_ms();
    write_all(STDOUT_FILENO, error, (size_t)size, (now > deadline ? now : deadline) + OUTPUT_MS);
    exit(1);
}

/* The code for "no answer from the agent": the runtime repeats the call, or knows its plugin is away. */
static int unavailable(void)
{
    return strcmp(command, "STATUS") == 0 ? CNI_NOT_AVAILABLE : CNI_TRY_AGAIN;
}

/* ---- the caller's side ---- */

static void read_config(void)
{
    while (config_size <= CONFIG_MAX) {
        if (!wait_for(STDIN_FILENO, POLLIN, deadline))
            fail(CNI_IO, "the caller must write the network configuration and close stdin",
                 "reading the network configuration from stdin: %s", strerror(errno));
        ssize_t got = read(STDIN_FILENO, config + config_size, CONFIG_MAX + 1 - config_size);
        if (got == 0)
            return;
        if (got > 0)
            config_size += (size_t)got;
        else if (errno != EINTR && errno != EAGAIN)
            fail(CNI_IO, "the caller must give the network configuration on stdin",
                 "reading the network configuration from stdin: %s", strerror(errno));
    }
    fail(CNI_DECODING, "make the configuration smaller",
         "the network configuration on stdin is larger than %d bytes", CONFIG_MAX);
}

/* Writes NAME=value and a NUL for every variable that is set and not empty; returns the size. */
static size_t pack_environment(uint8_t *into)
{
    size_t size = 0;
    for (size_t i = 0; i < ENVIRONMENT_NAMES; i++) {
        const char *value = getenv(ENVIRONMENT[i]);
        if (!value || !*value)
            continue;
        size_t room = ENVIRONMENT_MAX - size;
        int wanted = snprintf((char *)into + size, room, "%s=%s", ENVIRONMENT[i], value);
        if (wanted < 0 || (size_t)wanted >= room)
            fail(CNI_ENVIRONMENT, "shorten this variable, or the ones before it",
                 "the CNI environment variables are longer than %d bytes together, counted up to %s",
                 ENVIRONMENT_MAX, ENVIRONMENT[i]);
        size += (size_t)wanted + 1;
    }
    return size;
}

/* ---- the agent's side ---- */

static uint8_t *put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        at[i] = (uint8_t)value;
    return at + bytes;
}

static uint64_t get(const uint8_t *at, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return value;
}

/* The device and inode that say which network namespace a path is; zeros where nobody can tell. */
static uint8_t *put_namespace(uint8_t *at, const char *path)
{
    struct stat status = {0};
    bool known = path && *path && stat(path, &status) == 0;
    at = put(at, known ? status.st_dev : 0, 8);
    return put(at, known ? status.st_ino : 0, 8);
}

static const char NO_PATH[] =
    "put the absolute path of the agent's socket, at most 107 bytes, into the first line of " SOCKET_PATH_FILE
    " beside the plugin, or remove that file";

/* Finds the socket's path; a file beside this program, if there is one, overrides the default. */
static void find_socket(char *path, size_t room)
{
    char text[4096];
    ssize_t size = readlink("/proc/self/exe", text, sizeof text - sizeof SOCKET_PATH_FILE);
    char *base = NULL;
    if (size > 0) {
        text[size] = 0;
        base = strrchr(text, '/');
    }
    if (!base)
        fail(unavailable(), "mount /proc", "finding the directory of this program: %s", strerror(errno));
    strcpy(base + 1, SOCKET_PATH_FILE);

    int file = open(text, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        strcpy(path, DEFAULT_SOCKET);
        return;
    }
    size = file < 0 ? -1 : read(file, path, room - 1);
    if (size < 0)
        fail(unavailable(), NO_PATH, "reading %.256s: %s", text, strerror(errno));
    close(file);
    path[size] = 0;
    size_t length = strcspn(path, "\n");
    bool whole = path[length] == '\n' || (size_t)size < room - 1;
    while (length > 0 && strchr(" \t\r", path[length - 1]))
        length--;
    path[length] = 0;
    if (!whole || path[0] != '/' || length >= sizeof((struct sockaddr_un *)0)->sun_path)
        fail(unavailable(), NO_PATH, "%.256s: not the path of a unix socket: '%.200s'", text, path);
}

static int connect_agent(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[256];
    find_socket(path, sizeof path);
    strcpy(address.sun_path, path);
    int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int64_t patience = now_ms() + (unavailable() == CNI_TRY_AGAIN ? CONNECT_WAIT_MS : 0);
    for (;;) {
        int64_t left = deadline - now_ms();
        if (left <= 0)
            left = 1; /* 0 would be no limit */
        /* Bounds the one wait there is, for a place in the agent's queue. */
        struct timeval limit = {.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
        setsockopt(agent, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(agent, (struct sockaddr *)&address, sizeof address) == 0)
            return agent;
        int reason = errno;
        int64_t now = now_ms();
        bool absent = (reason == ENOENT || reason == ECONNREFUSED) && now < patience;
        if (now >= deadline || !(absent || reason == EINTR))
            fail(unavailable(),
                 "see that the whereabouts agent runs on this node (its DaemonSet) and listens at this path; "
                 "nothing was changed, the call can be repeated",
                 "the whereabouts agent cannot be reached at %s: %s", path,
                 reason == EAGAIN ? "too many calls are waiting for it" : strerror(reason));
        if (absent)
            nanosleep(&(struct timespec){.tv_nsec = CONNECT_PAUSE_MS * 1000000}, NULL);
    }
}

static const char UNKNOWN[] = "whether the call was carried out is not known, it can be repeated; "
                              "the agent's log of this node may say more";
static const char UPGRADE[] = "install plugin and agent of one release (this plugin is " WHEREABOUTS_VERSION
                              "); the call can be repeated";

static void send_request(int agent, size_t size)
{
    size_t sent = 0;
    while (sent < size) {
        ssize_t taken = send(agent, request + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (taken >= 0)
            sent += (size_t)taken;
        else if (errno == EPIPE || errno == ECONNRESET)
            return; /* an agent that turns a request down may have answered before it hung up */
        else if (errno == EAGAIN ? !wait_for(agent, POLLOUT, deadline) : errno != EINTR)
            fail(unavailable(), UNKNOWN, "sending the call to the whereabouts agent: %s", strerror(errno));
    }
}

static void receive(int agent, uint8_t *into, size_t size)
{
    size_t got = 0;
    while (got < size) {
        if (!wait_for(agent, POLLIN, deadline))
            fail(unavailable(), UNKNOWN, "the whereabouts agent did not answer in time: %s", strerror(errno));
        ssize_t more = recv(agent, into + got, size - got, MSG_DONTWAIT);
        if (more > 0)
            got += (size_t)more;
        else if (more == 0)
            fail(unavailable(), UNKNOWN, "the whereabouts agent hung up before its answer was whole");
        else if (errno != EINTR && errno != EAGAIN)
            fail(unavailable(), UNKNOWN, "reading the whereabouts agent's answer: %s", strerror(errno));
    }
}

/* Receives the one answer, and only when all of it is there hands it to the caller. */
static int relay_answer(int agent)
{
    uint8_t head[HEAD_SIZE];
    receive(agent, head, sizeof head);
    unsigned version = (unsigned)get(head + 4, 2), kind = (unsigned)get(head + 6, 2);
    uint64_t size = get(head + 8, 4);
    if (memcmp(head, MAGIC, sizeof MAGIC) != 0)
        fail(unavailable(), UPGRADE, "what listens on the agent's socket is not a whereabouts agent");
    if (version != FRAME_VERSION || kind != KIND_ANSWER)
        fail(unavailable(), UPGRADE, "the whereabouts agent's answer has version %u, kind %u, not %d and %d",
             version, kind, FRAME_VERSION, KIND_ANSWER);
    if (size < ANSWER_FIELDS || size > ANSWER_MAX)
        fail(unavailable(), UPGRADE, "the whereabouts agent's answer has %llu bytes, not %d to %d",
             (unsigned long long)size, ANSWER_FIELDS, ANSWER_MAX);
    receive(agent, answer, size);

    uint64_t status = get(answer, 4), out_size = get(answer + 4, 4), err_size = get(answer + 8, 4);
    if (status > 255 || ANSWER_FIELDS + out_size + err_size != size)
        fail(unavailable(), UPGRADE, "the whereabouts agent's answer contradicts itself");
    const uint8_t *out = answer + ANSWER_FIELDS;
    int64_t until = deadline + OUTPUT_MS;
    bool delivered = write_all(STDOUT_FILENO, out, out_size, until);
    write_all(STDERR_FILENO, out + out_size, err_size, until);
    return delivered ? (int)status : 1;
}

int main(void)
{
    static const char about[] = "whereabouts " WHEREABOUTS_VERSION " " PLATFORM "\n" ABOUT_VERSIONS;
    int64_t started = now_ms();
    hold_standard_descriptors();
    signal(SIGPIPE, SIG_IGN);

    command = getenv("CNI_COMMAND");
    if (!command || !*command) {
        write_all(STDERR_FILENO, about, sizeof about - 1, started + OUTPUT_MS);
        return 0;
    }
    if (strcmp(command, "VERSION") == 0)
        return write_all(STDOUT_FILENO, VERSION_RESULT, strlen(VERSION_RESULT), started + OUTPUT_MS) ? 0 : 1;

    deadline = started + (strcmp(command, "ADD") == 0 ? ADD_DEADLINE_MS : OTHER_DEADLINE_MS);
    read_config();
    size_t environment_size = pack_environment(config + config_size);
    int agent = connect_agent();

    size_t body = REQUEST_FIELDS + config_size + environment_size;
    int64_t left = deadline - now_ms();
    memcpy(request, MAGIC, sizeof MAGIC);
    uint8_t *at = put(request + sizeof MAGIC, FRAME_VERSION, 2);
    at = put(at, KIND_REQUEST, 2);
    at = put(at, body, 4);
    at = put(at, left > 0 ? (uint64_t)left : 0, 4);
    at = put_namespace(at, "/proc/self/ns/net");
    at = put_namespace(at, getenv("CNI_NETNS"));
    at = put(at, config_size, 4);
    put(at, environment_size, 4);
    send_request(agent, HEAD_SIZE + body);
    return relay_answer(agent);
}
