#define _GNU_SOURCE
#include "faulty_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Calls of this file go to the kernel itself. */
#define KERNEL(name, ...) syscall(SYS_##name, __VA_ARGS__)

struct change {
    /* Null for a change of the length alone. */
    unsigned char *bytes;
    off_t offset;
    size_t count;
};

struct file {
    dev_t device;
    /* 0 once the number may be another's. */
    ino_t number;
    unsigned char *platter;
    size_t size;
    struct change *changes;
    size_t count, room;
    struct file *next;
};

/* A name on the platter; one without a file is a folder. */
struct name {
    char *path;
    struct file *file;
};

struct naming {
    /* Null where a name goes, or comes without another going. */
    char *from, *to;
    struct file *file;
};

struct faulty_disk {
    char folder[PATH_MAX];
    size_t length;
    struct file *files;
    struct name *names;
    size_t name_count;
    struct naming *namings;
    size_t naming_count;
    int mode;
    uint32_t kinds;
    uint64_t at, seed, steps, by_kind[FAULTY_DISK_KINDS];
    bool is_dead, is_full;
};

enum { DISKS = 64, DESCRIPTORS = 4096 };
static faulty_disk *disks[DISKS];
static atomic_int active;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Another descriptor of the same file tells of a failed sync once as well, as Linux does. */
static struct file *owed[DESCRIPTORS], *opened[DESCRIPTORS];

static uint64_t draw(uint64_t *state) {
    uint64_t value = *state += 0x9E3779B97F4A7C15;
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9;
    value = (value ^ value >> 27) * 0x94D049BB133111EB;
    return value ^ value >> 31;
}

static bool ends(const char *path, const char *suffix) {
    size_t a = strlen(path), b = strlen(suffix);
    return a >= b && strcmp(path + a - b, suffix) == 0;
}

/* With the lock held. */
static faulty_disk *disk_of(const char *path) {
    for (int i = 0; i < DISKS; i++) {
        faulty_disk *disk = disks[i];
        if (disk && strncmp(path, disk->folder, disk->length) == 0 &&
            (path[disk->length] == '/' || path[disk->length] == 0) && !ends(path, "-shm") && !ends(path, ".lock"))
            return disk;
    }
    return NULL;
}

static struct file *find(int descriptor, faulty_disk **owner) {
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    for (int i = 0; i < DISKS; i++) {
        if (!disks[i]) continue;
        for (struct file *file = disks[i]->files; file; file = file->next)
            if (file->number == status.st_ino && file->device == status.st_dev) {
                *owner = disks[i];
                return file;
            }
    }
    return NULL;
}

static void grow(unsigned char **bytes, size_t *size, size_t wanted) {
    if (wanted > *size) {
        *bytes = realloc(*bytes, wanted);
        memset(*bytes + *size, 0, wanted - *size);
    }
    *size = wanted;
}

static void put(unsigned char **bytes, size_t *size, const struct change *change, size_t skip, size_t count) {
    if (!change->bytes) {
        grow(bytes, size, (size_t)change->offset);
        return;
    }
    size_t end = (size_t)change->offset + skip + count;
    if (end > *size) grow(bytes, size, end);
    memcpy(*bytes + change->offset + skip, change->bytes + skip, count);
}

static void note(struct file *file, const void *bytes, off_t offset, size_t count) {
    if (file->count == file->room) {
        file->room = file->room ? file->room * 2 : 16;
        file->changes = realloc(file->changes, file->room * sizeof *file->changes);
    }
    struct change *change = &file->changes[file->count++];
    *change = (struct change){.offset = offset, .count = count};
    if (bytes) {
        change->bytes = malloc(count ? count : 1);
        memcpy(change->bytes, bytes, count);
    }
}

/* All of it is on the platter now. */
static void settle(struct file *file) {
    for (size_t i = 0; i < file->count; i++) {
        put(&file->platter, &file->size, &file->changes[i], 0, file->changes[i].count);
        free(file->changes[i].bytes);
    }
    file->count = 0;
}

/* A sync that fails may leave what was written in memory, marked as done: no later one brings it to the platter
 * (Rebello et al. 2020, "Can Applications Recover from fsync Failures?"). */
static void forget_some(struct file *file, uint64_t *random) {
    size_t kept = 0;
    for (size_t i = 0; i < file->count; i++)
        if (file->changes[i].bytes && draw(random) % 2)
            free(file->changes[i].bytes);
        else
            file->changes[kept++] = file->changes[i];
    file->count = kept;
}

static struct file *adopt(faulty_disk *disk, int descriptor, bool is_new) {
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) return NULL;
    for (struct file *file = disk->files; file; file = file->next)
        if (file->number == status.st_ino && file->device == status.st_dev) {
            if (!is_new) return file;
            file->number = 0;
        }
    struct file *file = calloc(1, sizeof *file);
    file->device = status.st_dev;
    file->number = status.st_ino;
    if (!is_new && status.st_size > 0) {
        file->platter = malloc((size_t)status.st_size);
        ssize_t got = KERNEL(pread64, descriptor, file->platter, (size_t)status.st_size, (off_t)0);
        file->size = got > 0 ? (size_t)got : 0;
    }
    file->next = disk->files;
    disk->files = file;
    return file;
}

static void set_name(struct name **names, size_t *count, const char *path, struct file *file, bool is_there) {
    for (size_t i = 0; i < *count; i++)
        if (strcmp((*names)[i].path, path) == 0) {
            if (is_there) {
                (*names)[i].file = file;
            } else {
                free((*names)[i].path);
                (*names)[i] = (*names)[--*count];
            }
            return;
        }
    if (!is_there) return;
    *names = realloc(*names, (*count + 1) * sizeof **names);
    (*names)[(*count)++] = (struct name){strdup(path), file};
}

static void apply(struct name **names, size_t *count, const struct naming *naming) {
    if (naming->from) set_name(names, count, naming->from, NULL, false);
    if (naming->to) set_name(names, count, naming->to, naming->file, true);
}

static void name_later(faulty_disk *disk, const char *from, const char *to, struct file *file) {
    disk->namings = realloc(disk->namings, (disk->naming_count + 1) * sizeof *disk->namings);
    disk->namings[disk->naming_count++] =
        (struct naming){from ? strdup(from) : NULL, to ? strdup(to) : NULL, file};
}

static bool lies_in(const char *path, const char *folder) {
    const char *slash = strrchr(path, '/');
    return slash && (size_t)(slash - path) == strlen(folder) && strncmp(path, folder, strlen(folder)) == 0;
}

static void settle_names(faulty_disk *disk, const char *folder) {
    size_t kept = 0;
    for (size_t i = 0; i < disk->naming_count; i++) {
        struct naming *naming = &disk->namings[i];
        if (!lies_in(naming->to ? naming->to : naming->from, folder)) {
            disk->namings[kept++] = *naming;
            continue;
        }
        apply(&disk->names, &disk->name_count, naming);
        free(naming->from);
        free(naming->to);
    }
    disk->naming_count = kept;
}

/* Counts a step. 0 where it is to happen; else the error. */
static int step(faulty_disk *disk, int kind) {
    if (disk->is_dead) return EIO;
    if (!(disk->kinds >> kind & 1)) return 0;
    disk->steps++;
    disk->by_kind[kind]++;
    if (disk->is_full && kind == FAULTY_DISK_WRITE) {
        if (disk->mode == FAULTY_DISK_ONCE) disk->is_full = false;
        return ENOSPC;
    }
    if (disk->mode == FAULTY_DISK_COUNT || disk->steps < disk->at) return 0;
    if (disk->mode == FAULTY_DISK_ONCE && disk->steps > disk->at) return 0;
    if (disk->mode == FAULTY_DISK_CUT) {
        disk->is_dead = true;
        return EIO;
    }
    uint64_t state = disk->seed * 31 + disk->at;
    switch (draw(&state) % 3) {
        case 0: return EIO;
        case 1: return kind == FAULTY_DISK_SYNC || kind == FAULTY_DISK_DELETE ? EIO : ENOSPC;
        default:
            /* A part of it is written, and then the disk is full. */
            disk->is_full = kind == FAULTY_DISK_WRITE;
            return kind == FAULTY_DISK_WRITE ? -1 : EIO;
    }
}

/* The last write before the power went may have been under way. */
static ssize_t write_at(int descriptor, const void *bytes, size_t count, off_t offset, bool has_offset) {
    if (atomic_load_explicit(&active, memory_order_relaxed) == 0)
        return has_offset ? KERNEL(pwrite64, descriptor, bytes, count, offset)
                          : KERNEL(write, descriptor, bytes, count);
    struct stat status;
    bool is_file = KERNEL(fstat, descriptor, &status) == 0 && S_ISREG(status.st_mode);
    faulty_disk *disk = NULL;
    struct file *file = NULL;
    if (is_file) {
        pthread_mutex_lock(&lock);
        file = find(descriptor, &disk);
        if (!file) pthread_mutex_unlock(&lock);
    }
    if (!file)
        return has_offset ? KERNEL(pwrite64, descriptor, bytes, count, offset)
                          : KERNEL(write, descriptor, bytes, count);
    off_t place = offset;
    if (!has_offset) place = KERNEL(fcntl, descriptor, F_GETFL) & O_APPEND ? status.st_size : KERNEL(lseek, descriptor, 0, SEEK_CUR);
    bool was_dead = disk->is_dead;
    int error = step(disk, FAULTY_DISK_WRITE);
    ssize_t result = -1;
    if (error == 0 || error == -1) {
        if (error == -1) count = count > 1 ? count / 2 : count;
        result = has_offset ? KERNEL(pwrite64, descriptor, bytes, count, offset)
                            : KERNEL(write, descriptor, bytes, count);
        int saved = errno;
        if (result > 0) note(file, bytes, place, (size_t)result);
        errno = saved;
    } else {
        if (disk->is_dead && !was_dead) note(file, bytes, place, count);
        errno = error;
    }
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

ssize_t write(int descriptor, const void *bytes, size_t count) { return write_at(descriptor, bytes, count, 0, false); }

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
    return write_at(descriptor, bytes, count, offset, true);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off_t offset) {
    return write_at(descriptor, bytes, count, offset, true);
}

static int sync_file(int descriptor, bool is_data) {
    int passed = atomic_load_explicit(&active, memory_order_relaxed) > 0;
    struct stat status;
    if (passed && (KERNEL(fstat, descriptor, &status) != 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))))
        passed = 0;
    if (!passed)
        return (int)(is_data ? KERNEL(fdatasync, descriptor) : KERNEL(fsync, descriptor));
    int error = -1;
    pthread_mutex_lock(&lock);
    faulty_disk *disk = NULL;
    if (S_ISDIR(status.st_mode)) {
        char link[64], path[PATH_MAX];
        snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
        ssize_t count = readlink(link, path, sizeof path - 1);
        path[count > 0 ? count : 0] = 0;
        disk = disk_of(path);
        if (disk) {
            error = step(disk, FAULTY_DISK_SYNC);
            if (error == 0) settle_names(disk, path);
        }
    } else {
        struct file *file = find(descriptor, &disk);
        if (file) {
            error = step(disk, FAULTY_DISK_SYNC);
            if (error == 0 && descriptor < DESCRIPTORS && owed[descriptor] == file) error = EIO;
            if (descriptor < DESCRIPTORS) owed[descriptor] = NULL;
            if (error == 0) {
                settle(file);
            } else if (!disk->is_dead) {
                uint64_t random = disk->seed + disk->steps;
                forget_some(file, &random);
                for (int i = 0; i < DESCRIPTORS; i++)
                    if (i != descriptor && opened[i] == file) owed[i] = file;
            }
        }
    }
    pthread_mutex_unlock(&lock);
    if (!disk) return (int)(is_data ? KERNEL(fdatasync, descriptor) : KERNEL(fsync, descriptor));
    errno = error;
    return error == 0 ? 0 : -1;
}

int fsync(int descriptor) { return sync_file(descriptor, false); }
int fdatasync(int descriptor) { return sync_file(descriptor, true); }

static int truncate_file(int descriptor, off_t length) {
    if (atomic_load_explicit(&active, memory_order_relaxed) > 0) {
        pthread_mutex_lock(&lock);
        faulty_disk *disk = NULL;
        struct file *file = find(descriptor, &disk);
        int error = file ? step(disk, FAULTY_DISK_TRUNCATE) : 0;
        if (file && error == 0) note(file, NULL, length, 0);
        pthread_mutex_unlock(&lock);
        if (error != 0) {
            errno = error;
            return -1;
        }
    }
    return (int)KERNEL(ftruncate, descriptor, length);
}

int ftruncate(int descriptor, off_t length) { return truncate_file(descriptor, length); }
int ftruncate64(int descriptor, off_t length) { return truncate_file(descriptor, length); }

static int open_file(int folder, const char *path, int flags, mode_t mode) {
    if (atomic_load_explicit(&active, memory_order_relaxed) == 0) return (int)KERNEL(openat, folder, path, flags, mode);
    pthread_mutex_lock(&lock);
    faulty_disk *disk = disk_of(path);
    if (!disk) {
        pthread_mutex_unlock(&lock);
        return (int)KERNEL(openat, folder, path, flags, mode);
    }
    struct stat status;
    bool is_unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    bool is_new = is_unnamed || ((flags & O_CREAT) && lstat(path, &status) != 0);
    int error = step(disk, is_new ? FAULTY_DISK_CREATE : FAULTY_DISK_OPEN);
    int descriptor = -1;
    if (error != 0) {
        errno = error;
    } else {
        /* Content that goes without a trace would be missed. */
        descriptor = (int)KERNEL(openat, folder, path, flags & ~O_TRUNC, mode);
        if (descriptor >= 0) {
            struct file *file = adopt(disk, descriptor, is_new);
            if (file && descriptor < DESCRIPTORS) {
                opened[descriptor] = file;
                owed[descriptor] = NULL;
            }
            if (file && is_new && !is_unnamed) name_later(disk, NULL, path, file);
            if (file && (flags & O_TRUNC)) {
                note(file, NULL, 0, 0);
                KERNEL(ftruncate, descriptor, (off_t)0);
            }
            errno = 0;
        }
    }
    int saved = errno;
    pthread_mutex_unlock(&lock);
    errno = saved;
    return descriptor;
}

#define OPEN_MODE(flags)                                        \
    mode_t mode = 0;                                            \
    if ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE) { \
        va_list list;                                           \
        va_start(list, flags);                                  \
        mode = va_arg(list, mode_t);                            \
        va_end(list);                                           \
    }

int open(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_file(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_file(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_file(folder, path, flags, mode);
}

/* What leads from one path to another. `call` is 0 for unlink, 1 for rename, 2 for link, 3 for mkdir. */
static int change_name(int call, const char *from, const char *to, int folder, int flags, mode_t mode) {
    const char *path = to ? to : from;
    faulty_disk *disk = NULL;
    if (atomic_load_explicit(&active, memory_order_relaxed) > 0) {
        pthread_mutex_lock(&lock);
        disk = disk_of(path);
        if (!disk) pthread_mutex_unlock(&lock);
    }
    struct file *file = NULL;
    if (disk) {
        if (call != 3) {
            int descriptor = (int)KERNEL(openat, folder, from, O_RDONLY | O_CLOEXEC);
            if (descriptor >= 0) {
                file = adopt(disk, descriptor, false);
                KERNEL(close, descriptor);
            }
        }
        int error = step(disk, call == 0 ? FAULTY_DISK_DELETE : FAULTY_DISK_NAME);
        if (error != 0) {
            pthread_mutex_unlock(&lock);
            errno = error;
            return -1;
        }
    }
    int result = (int)(call == 0   ? KERNEL(unlink, from)
                       : call == 1 ? KERNEL(rename, from, to)
                       : call == 2 ? KERNEL(linkat, folder, from, AT_FDCWD, to, flags)
                                   : KERNEL(mkdir, to, mode));
    if (!disk) return result;
    int saved = errno;
    if (result == 0) name_later(disk, call < 2 ? from : NULL, to, file);
    pthread_mutex_unlock(&lock);
    errno = saved;
    return result;
}

int unlink(const char *path) { return change_name(0, path, NULL, AT_FDCWD, 0, 0); }
int rename(const char *from, const char *to) { return change_name(1, from, to, AT_FDCWD, 0, 0); }
int link(const char *from, const char *to) { return change_name(2, from, to, AT_FDCWD, 0, 0); }
int mkdir(const char *path, mode_t mode) { return change_name(3, NULL, path, AT_FDCWD, 0, mode); }

int linkat(int folder, const char *from, int other, const char *to, int flags) {
    if (other != AT_FDCWD) return (int)KERNEL(linkat, folder, from, other, to, flags);
    return change_name(2, from, to, folder, flags, 0);
}

/* Disks */

static void adopt_all(faulty_disk *disk, const char *folder) {
    DIR *directory = opendir(folder);
    if (!directory) return;
    struct dirent *entry;
    while ((entry = readdir(directory))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path) continue;
        if (ends(path, "-shm") || ends(path, ".lock")) continue;
        int descriptor = (int)KERNEL(openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (descriptor < 0) continue;
        struct stat status;
        if (fstat(descriptor, &status) == 0 && S_ISDIR(status.st_mode)) {
            set_name(&disk->names, &disk->name_count, path, NULL, true);
            adopt_all(disk, path);
        } else {
            struct file *file = adopt(disk, descriptor, false);
            if (file) set_name(&disk->names, &disk->name_count, path, file, true);
        }
        KERNEL(close, descriptor);
    }
    closedir(directory);
}

faulty_disk *faulty_disk_make(const char *folder) {
    faulty_disk *disk = calloc(1, sizeof *disk);
    if (!realpath(folder, disk->folder)) {
        free(disk);
        return NULL;
    }
    disk->length = strlen(disk->folder);
    adopt_all(disk, disk->folder);
    pthread_mutex_lock(&lock);
    int place = 0;
    while (place < DISKS && disks[place]) place++;
    if (place < DISKS) disks[place] = disk;
    pthread_mutex_unlock(&lock);
    if (place < DISKS) {
        atomic_fetch_add(&active, 1);
        return disk;
    }
    free(disk);
    return NULL;
}

void faulty_disk_free(faulty_disk *disk) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < DISKS; i++)
        if (disks[i] == disk) disks[i] = NULL;
    for (struct file *file = disk->files, *next; file; file = next) {
        next = file->next;
        for (int i = 0; i < DESCRIPTORS; i++) {
            if (opened[i] == file) opened[i] = NULL;
            if (owed[i] == file) owed[i] = NULL;
        }
        for (size_t i = 0; i < file->count; i++) free(file->changes[i].bytes);
        free(file->changes);
        free(file->platter);
        free(file);
    }
    pthread_mutex_unlock(&lock);
    atomic_fetch_sub(&active, 1);
    for (size_t i = 0; i < disk->name_count; i++) free(disk->names[i].path);
    free(disk->names);
    for (size_t i = 0; i < disk->naming_count; i++) {
        free(disk->namings[i].from);
        free(disk->namings[i].to);
    }
    free(disk->namings);
    free(disk);
}

void faulty_disk_arm(faulty_disk *disk, int mode, uint32_t kinds, uint64_t at, uint64_t seed) {
    pthread_mutex_lock(&lock);
    disk->mode = mode;
    disk->kinds = kinds;
    disk->at = at;
    disk->seed = seed;
    disk->steps = 0;
    disk->is_full = disk->is_dead = false;
    memset(disk->by_kind, 0, sizeof disk->by_kind);
    pthread_mutex_unlock(&lock);
}

uint64_t faulty_disk_steps(faulty_disk *disk) {
    pthread_mutex_lock(&lock);
    uint64_t steps = disk->steps;
    pthread_mutex_unlock(&lock);
    return steps;
}

uint64_t faulty_disk_steps_of(faulty_disk *disk, int kind) {
    pthread_mutex_lock(&lock);
    uint64_t steps = kind >= 0 && kind < FAULTY_DISK_KINDS ? disk->by_kind[kind] : 0;
    pthread_mutex_unlock(&lock);
    return steps;
}

enum style { NOTHING, EVERYTHING, TORN, SECTORS, PAGES, STYLES };

/* The file as a reboot finds it. */
static unsigned char *surviving(const struct file *file, enum style style, uint64_t *random, size_t *size) {
    unsigned char *bytes = malloc(file->size ? file->size : 1);
    if (file->size) memcpy(bytes, file->platter, file->size);
    *size = file->size;
    if (file->count == 0) return bytes;
    size_t last = style == TORN ? draw(random) % file->count : file->count - 1;
    size_t block = style == PAGES ? 4096 : 512;
    bool is_torn = style != NOTHING && style != EVERYTHING;
    for (size_t i = 0; i <= last; i++) {
        const struct change *change = &file->changes[i];
        bool is_whole = style == EVERYTHING || (style == TORN && i < last);
        if (style == NOTHING) continue;
        if (!change->bytes) {
            if (is_whole || draw(random) % 2) put(&bytes, size, change, 0, 0);
            continue;
        }
        for (size_t skip = 0; skip < change->count;) {
            size_t end = block - ((size_t)change->offset + skip) % block;
            size_t count = end < change->count - skip ? end : change->count - skip;
            if (is_whole || draw(random) % 2) put(&bytes, size, change, skip, count);
            skip += count;
        }
    }
    /* The length may be there before the content is. */
    if (is_torn && draw(random) % 2) {
        size_t length = *size;
        for (size_t i = 0; i <= last; i++) {
            const struct change *change = &file->changes[i];
            size_t end = (size_t)change->offset + change->count;
            if (change->bytes && end > length) length = end;
        }
        grow(&bytes, size, length);
    }
    return bytes;
}

static bool is_reachable(const struct name *names, size_t count, const char *path, size_t root) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash) return false;
    *slash = 0;
    if (strlen(parent) <= root) return true;
    for (size_t i = 0; i < count; i++)
        if (!names[i].file && strcmp(names[i].path, parent) == 0) return is_reachable(names, count, parent, root);
    return false;
}

static int by_path(const void *one, const void *other) {
    return strcmp(((const struct name *)one)->path, ((const struct name *)other)->path);
}

void faulty_disk_platter(faulty_disk *disk, const char *target, uint64_t seed) {
    uint64_t random = seed;
    pthread_mutex_lock(&lock);
    enum style style = (enum style)(draw(&random) % STYLES);
    struct name *names = NULL;
    size_t count = 0;
    for (size_t i = 0; i < disk->name_count; i++)
        set_name(&names, &count, disk->names[i].path, disk->names[i].file, true);
    size_t first = style == NOTHING      ? 0
                   : style == EVERYTHING ? disk->naming_count
                                         : draw(&random) % (disk->naming_count + 1);
    for (size_t i = 0; i < first; i++) apply(&names, &count, &disk->namings[i]);
    if (count) qsort(names, count, sizeof *names, by_path);
    for (size_t i = 0; i < count; i++) {
        if (!is_reachable(names, count, names[i].path, disk->length)) continue;
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s%s", target, names[i].path + disk->length) >= (int)sizeof path) continue;
        if (!names[i].file) {
            KERNEL(mkdir, path, 0700);
            continue;
        }
        size_t size = 0;
        unsigned char *bytes = surviving(names[i].file, style, &random, &size);
        int descriptor = (int)KERNEL(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        for (size_t done = 0; descriptor >= 0 && done < size;) {
            ssize_t written = KERNEL(write, descriptor, bytes + done, size - done);
            if (written <= 0) break;
            done += (size_t)written;
        }
        if (descriptor >= 0) KERNEL(close, descriptor);
        free(bytes);
    }
    for (size_t i = 0; i < count; i++) free(names[i].path);
    free(names);
    pthread_mutex_unlock(&lock);
}
