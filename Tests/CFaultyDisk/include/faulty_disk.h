#ifndef IGRIS_FAULTY_DISK_H
#define IGRIS_FAULTY_DISK_H

#include <stdint.h>

/* A disk that fails, or whose power is cut, at a chosen step.
 *
 * The test program's own write, pwrite, fsync, fdatasync, ftruncate, open, unlink, rename, link and mkdir stand before
 * the C library's, for SQLite's calls as for ours (key files, marks, drafts, LogSync's fdatasync). For files in the
 * folder of a disk it is kept what is written and what is on the platter; all others pass through. A name is on the
 * platter once its folder was synced, as POSIX has it, and content once its file was.
 *
 * SQLite's shared memory (-shm) and lock files are no part of it: neither outlives a reboot. */

typedef struct faulty_disk faulty_disk;

enum faulty_disk_mode {
    FAULTY_DISK_COUNT = 0,
    /* The step fails; those after it do not. */
    FAULTY_DISK_ONCE = 1,
    /* The step fails, and all after it. */
    FAULTY_DISK_FOREVER = 2,
    /* From the step on nothing reaches the disk; see faulty_disk_platter(). */
    FAULTY_DISK_CUT = 3,
};

enum faulty_disk_kind {
    FAULTY_DISK_WRITE,
    FAULTY_DISK_SYNC,
    FAULTY_DISK_TRUNCATE,
    FAULTY_DISK_DELETE,
    FAULTY_DISK_OPEN,
    FAULTY_DISK_CREATE,
    FAULTY_DISK_NAME,
    FAULTY_DISK_KINDS,
};

/* What lies in the folder now is on the platter. Null where there are too many disks. */
faulty_disk *faulty_disk_make(const char *folder);
void faulty_disk_free(faulty_disk *disk);

/* The step number `at`, counted from 1, is the one. Only steps of `kinds` (bits 1 << kind) count. The seed chooses the
 * error. */
void faulty_disk_arm(faulty_disk *disk, int mode, uint32_t kinds, uint64_t at, uint64_t seed);
/* Steps since it was armed, and by kind. */
uint64_t faulty_disk_steps(faulty_disk *disk);
uint64_t faulty_disk_steps_of(faulty_disk *disk, int kind);

/* Writes into the empty folder `target` what the platter holds. Of what was not synced, by the seed: nothing, all, all
 * up to a moment with the last write torn, or any part at 512 or 4,096 bytes in any order; of names the first few. */
void faulty_disk_platter(faulty_disk *disk, const char *target, uint64_t seed);

#endif
