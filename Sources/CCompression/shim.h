#ifndef IGRIS_CCOMPRESSION_SHIM_H
#define IGRIS_CCOMPRESSION_SHIM_H

// What decompression needs of zlib's and zstd's stable interfaces, declared here: the libraries themselves are opened
// at run time, so nothing is linked and no header must be installed.

#include <stddef.h>

// zlib.h, struct z_stream_s
struct igris_zlib_stream {
    const unsigned char *next_in;
    unsigned int avail_in;
    unsigned long total_in;
    unsigned char *next_out;
    unsigned int avail_out;
    unsigned long total_out;
    const char *message;
    void *state;
    void *allocate;
    void *release;
    void *opaque;
    int data_type;
    unsigned long checksum;
    unsigned long reserved;
};

// zstd.h, ZSTD_inBuffer and ZSTD_outBuffer
struct igris_zstd_input {
    const void *bytes;
    size_t size;
    size_t position;
};

struct igris_zstd_output {
    void *bytes;
    size_t size;
    size_t position;
};

#endif
