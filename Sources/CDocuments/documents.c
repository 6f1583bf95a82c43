#include "documents.h"

static const unsigned char openapi[] = {
#embed "../../docs/openapi.yaml"
};

const unsigned char *igris_openapi(void) { return openapi; }
size_t igris_openapi_size(void) { return sizeof openapi; }
