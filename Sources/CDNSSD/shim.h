#ifndef IGRIS_CDNSSD_SHIM_H
#define IGRIS_CDNSSD_SHIM_H

// Types and constants only: the library itself is opened at run time (design.md §2.5), so nothing is linked.
#include <dns_sd.h>

#endif
