#ifndef IGRIS_COPENSSL_SHIM_H
#define IGRIS_COPENSSL_SHIM_H

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* As `openssl x509 -noout -subject -nameopt RFC2253` writes it; the flags are a macro that Swift cannot read. */
static inline int igris_X509_print_subject(X509 *certificate, BIO *output) {
    return X509_NAME_print_ex(output, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253);
}

#endif
