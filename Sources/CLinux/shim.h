#ifndef IGRIS_CLINUX_SHIM_H
#define IGRIS_CLINUX_SHIM_H

// Calls of the system that Swift cannot make: variadic ones, and those whose headers its module of the C library leaves
// out.

#include <malloc.h>
#include <sys/prctl.h>

/* No core file, and nobody but root may look into this process: prctl(2), PR_SET_DUMPABLE. */
static inline int igris_forbid_dumps(void) { return prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L); }

/* Gives memory back to the system that was freed in small pieces. */
static inline void igris_trim_memory(void) { (void)malloc_trim(0); }

#endif
