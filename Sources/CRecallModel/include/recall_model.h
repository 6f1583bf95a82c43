#ifndef IGRIS_RECALL_MODEL_H
#define IGRIS_RECALL_MODEL_H

#include <stddef.h>

/// The bytes of the demonstration model (Models/igris-recall), in the binary's read-only data.
const unsigned char *igris_recall_model(void);
/// How many there are.
size_t igris_recall_model_size(void);

#endif
