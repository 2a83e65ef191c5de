/*
 * The few GSSAPI calls that a login needs (RFC 2743, RFC 2744). The types of these functions do not depend on
 * the library. MIT and Heimdal lay out names, buffers and object identifiers differently, so this file is
 * compiled against the installed headers.
 *
 * Rules: `out` is either untouched, or the caller owns it afterwards. Every error is a terminated text in
 * `problem`.
 */
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>

/* SPNEGO, 1.3.6.1.5.5.2 (RFC 4178), and Kerberos 5, 1.2.840.113554.1.2.2 (RFC 1964). Not every header names them. */
static gss_OID_desc spnego = {6, "\x2b\x06\x01\x05\x05\x02"};
static gss_OID_desc kerberos = {9, "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"};

struct koschei_gss {
    gss_ctx_id_t context;
    gss_name_t peer; /* initiator: the service; acceptor: the client */
    gss_cred_id_t credentials;
};

struct koschei_bytes {
    unsigned char *at; /* from malloc, or NULL */
    size_t length;
};

/* Appends the library's text for a status: that of GSSAPI, then that of the mechanism. */
static void append(char *problem, size_t room, OM_uint32 status, int kind, gss_OID mechanism) {
    OM_uint32 more = 0, minor;
    do {
        gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
        size_t used = strlen(problem);
        if (GSS_ERROR(gss_display_status(&minor, status, kind, mechanism, &more, &text)))
            return;
        if (used > 0 && used + 2 < room) {
            strcat(problem, ": ");
            used += 2;
        }
        if (used + 1 < room) {
            size_t length = text.length < room - used - 1 ? text.length : room - used - 1;
            memcpy(problem + used, text.value, length);
            problem[used + length] = 0;
        }
        gss_release_buffer(&minor, &text);
    } while (more);
}

static int failed(char *problem, size_t room, OM_uint32 major, OM_uint32 minor) {
    if (!GSS_ERROR(major))
        return 0;
    problem[0] = 0;
    append(problem, room, major, GSS_C_GSS_CODE, GSS_C_NO_OID);
    append(problem, room, minor, GSS_C_MECH_CODE, &kerberos);
    return 1;
}

static int acquire(gss_cred_id_t *out, const char *principal, gss_OID mechanism, int usage, char *problem, size_t room) {
    OM_uint32 major, minor, ignored;
    gss_name_t name = GSS_C_NO_NAME;
    gss_OID_set_desc mechanisms = {1, mechanism};
    if (principal) {
        gss_buffer_desc text = {strlen(principal), (void *)principal};
        major = gss_import_name(&minor, &text, GSS_C_NT_USER_NAME, &name);
        if (failed(problem, room, major, minor))
            return -1;
    }
    major = gss_acquire_cred(&minor, name, GSS_C_INDEFINITE, mechanism ? &mechanisms : GSS_C_NO_OID_SET, usage, out, NULL, NULL);
    gss_release_name(&ignored, &name);
    return failed(problem, room, major, minor) ? -1 : 0;
}

void koschei_gss_free(struct koschei_gss *gss) {
    OM_uint32 minor;
    if (!gss)
        return;
    if (gss->context != GSS_C_NO_CONTEXT)
        gss_delete_sec_context(&minor, &gss->context, GSS_C_NO_BUFFER);
    gss_release_name(&minor, &gss->peer);
    gss_release_cred(&minor, &gss->credentials);
    free(gss);
}

void koschei_bytes_free(struct koschei_bytes bytes) {
    free(bytes.at);
}

static void take(gss_buffer_t from, struct koschei_bytes *out) {
    OM_uint32 minor;
    if (from->length > 0) {
        out->at = malloc(from->length);
        if (!out->at)
            abort();
        memcpy(out->at, from->value, from->length);
        out->length = from->length;
    }
    gss_release_buffer(&minor, from);
}

static struct koschei_gss *empty(void) {
    struct koschei_gss *gss = malloc(sizeof(*gss));
    if (!gss)
        abort();
    gss->context = GSS_C_NO_CONTEXT;
    gss->peer = GSS_C_NO_NAME;
    gss->credentials = GSS_C_NO_CREDENTIAL;
    return gss;
}

/* Checks whether there are any Kerberos credentials. Returns 0, or -1 and the reason. */
int koschei_gss_credentials(char *problem, size_t room) {
    OM_uint32 minor;
    gss_cred_id_t credentials = GSS_C_NO_CREDENTIAL;
    int result = acquire(&credentials, NULL, &kerberos, GSS_C_INITIATE, problem, room);
    gss_release_cred(&minor, &credentials);
    return result;
}

/* Makes an initiator. service: such as "HTTP@host". principal: NULL for the default. */
struct koschei_gss *koschei_gss_initiator(const char *service, const char *principal, char *problem, size_t room) {
    OM_uint32 major, minor;
    struct koschei_gss *gss = empty();
    gss_buffer_desc text = {strlen(service), (void *)service};
    major = gss_import_name(&minor, &text, GSS_C_NT_HOSTBASED_SERVICE, &gss->peer);
    if (failed(problem, room, major, minor)
        || (principal && acquire(&gss->credentials, principal, GSS_C_NO_OID, GSS_C_INITIATE, problem, room))) {
        koschei_gss_free(gss);
        return NULL;
    }
    return gss;
}

struct koschei_gss *koschei_gss_acceptor(char *problem, size_t room) {
    struct koschei_gss *gss = empty();
    if (acquire(&gss->credentials, NULL, GSS_C_NO_OID, GSS_C_ACCEPT, problem, room)) {
        koschei_gss_free(gss);
        return NULL;
    }
    return gss;
}

/* Makes one step with the peer's token (none at first). Returns 1 if the context is complete, 0 if not, -1 on an error. */
int koschei_gss_initiate(struct koschei_gss *gss, const unsigned char *token, size_t length, struct koschei_bytes *out, char *problem,
                         size_t room) {
    OM_uint32 major, minor;
    gss_buffer_desc in = {length, (void *)token}, answer = GSS_C_EMPTY_BUFFER;
    major = gss_init_sec_context(&minor, gss->credentials, &gss->context, gss->peer, &spnego, GSS_C_MUTUAL_FLAG | GSS_C_SEQUENCE_FLAG,
                                 GSS_C_INDEFINITE, GSS_C_NO_CHANNEL_BINDINGS, length ? &in : GSS_C_NO_BUFFER, NULL, &answer, NULL, NULL);
    take(&answer, out);
    return failed(problem, room, major, minor) ? -1 : !(major & GSS_S_CONTINUE_NEEDED);
}

/* Like koschei_gss_initiate, but for the side that accepts the login. */
int koschei_gss_accept(struct koschei_gss *gss, const unsigned char *token, size_t length, struct koschei_bytes *out, char *problem,
                       size_t room) {
    OM_uint32 major, minor, ignored;
    gss_buffer_desc in = {length, (void *)token}, answer = GSS_C_EMPTY_BUFFER;
    gss_release_name(&ignored, &gss->peer);
    major = gss_accept_sec_context(&minor, &gss->context, gss->credentials, &in, GSS_C_NO_CHANNEL_BINDINGS, &gss->peer, NULL, &answer,
                                   NULL, NULL, NULL);
    take(&answer, out);
    return failed(problem, room, major, minor) ? -1 : !(major & GSS_S_CONTINUE_NEEDED);
}

/* Writes the name of the peer as text. Returns 0, or -1 and the reason. */
int koschei_gss_peer(const struct koschei_gss *gss, struct koschei_bytes *out, char *problem, size_t room) {
    OM_uint32 major, minor;
    gss_buffer_desc text = GSS_C_EMPTY_BUFFER;
    if (gss->peer == GSS_C_NO_NAME) {
        strncpy(problem, "nobody has logged in", room - 1);
        return -1;
    }
    major = gss_display_name(&minor, gss->peer, &text, NULL);
    if (failed(problem, room, major, minor))
        return -1;
    take(&text, out);
    return 0;
}
