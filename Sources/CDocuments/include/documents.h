#ifndef IGRIS_DOCUMENTS_H
#define IGRIS_DOCUMENTS_H

#include <stddef.h>

/// The bytes of docs/openapi.yaml, in the binary's read-only data.
const unsigned char *igris_openapi(void);
/// How many there are.
size_t igris_openapi_size(void);

#endif
