#include "recall_model.h"

static const unsigned char model[] = {
#embed "../../Models/igris-recall/igris-recall-q8_0.gguf"
};

const unsigned char *igris_recall_model(void) { return model; }
size_t igris_recall_model_size(void) { return sizeof model; }
