/*
 * Gives an address to what libsolv's headers define inline or as macros, and checks at compile time that the numbers
 * ffi.rs uses are those of the headers. No logic of its own.
 */
#include <stdlib.h>

#include <solv/pool.h>
#include <solv/poolarch.h>
#include <solv/problems.h>
#include <solv/queue.h>
#include <solv/repo.h>
#include <solv/solver.h>

_Static_assert(sizeof(Id) == 4 && sizeof(Offset) == 4, "ffi.rs declares both with 32 bits");
_Static_assert(DISTTYPE_RPM == 0, "ffi::DISTTYPE_RPM");
_Static_assert(POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS == 10, "ffi::POOL_FLAG_*");
_Static_assert(REL_GT == 1 && REL_EQ == 2 && REL_LT == 4, "ffi::REL_*");
_Static_assert(REL_AND == 16 && REL_OR == 17 && REL_WITH == 18 && REL_COND == 22, "ffi::REL_*");
_Static_assert(REL_ELSE == 26 && REL_WITHOUT == 28 && REL_UNLESS == 29, "ffi::REL_*");
_Static_assert(SOLVER_SOLVABLE_PROVIDES == 0x03 && SOLVER_SOLVABLE_ONE_OF == 0x04, "ffi::SOLVER_*");
_Static_assert(SOLVER_INSTALL == 0x0100, "ffi::SOLVER_*");
_Static_assert(SOLVER_SETEVR == 0x02000000 && SOLVER_SETARCH == 0x04000000, "ffi::SOLVER_*");
_Static_assert(SOLVER_FLAG_ALLOW_DOWNGRADE == 1 && SOLVER_FLAG_ALLOW_VENDORCHANGE == 3, "ffi::FLAG_*");
_Static_assert(SOLVER_FLAG_ALLOW_UNINSTALL == 4, "ffi::FLAG_*");
_Static_assert(SOLVER_FLAG_IGNORE_RECOMMENDED == 7 && SOLVER_FLAG_BEST_OBEY_POLICY == 12, "ffi::FLAG_*");
_Static_assert(SOLVER_FLAG_KEEP_ORPHANS == 18 && SOLVER_FLAG_YUM_OBSOLETES == 21, "ffi::FLAG_*");
_Static_assert(SOLVER_FLAG_URPM_REORDER == 23, "ffi::FLAG_*");
_Static_assert(SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP == 0x102 && SOLVER_RULE_JOB == 0x400, "ffi::RULE_*");
_Static_assert(SOLVABLE_PROVIDES < SOLVABLE_ENHANCES, "the dependency keys are one block of constants");

const Id koschei_prereqmarker = SOLVABLE_PREREQMARKER;
const Id koschei_filemarker = SOLVABLE_FILEMARKER;

int koschei_installable(const Pool *pool, Id p) {
    return pool_installable(pool, pool_id2solvable(pool, p));
}

/* 0: not installable here; 1: noarch; else lower is better */
Id koschei_arch_score(const Pool *pool, Id arch) {
    return pool->id2arch && arch <= pool->lastarch ? pool->id2arch[arch] : 0;
}

unsigned char koschei_arch_color(Pool *pool, Id arch) {
    return pool_arch2color(pool, arch);
}

void koschei_set_priority(Repo *repo, int priority) {
    repo->priority = priority;
}

void koschei_set_nevra(Pool *pool, Id p, Id name, Id evr, Id arch) {
    Solvable *s = pool_id2solvable(pool, p);
    s->name = name;
    s->evr = evr;
    s->arch = arch;
}

/* list: 0 provides, 1 requires, 2 conflicts, 3 obsoletes, 4 recommends, 5 suggests, 6 supplements, 7 enhances */
void koschei_add_dep(Pool *pool, Id p, int list, Id dep, Id marker) {
    Solvable *s = pool_id2solvable(pool, p);
    Offset *offset;
    switch (list) {
    case 0: offset = &s->provides; break;
    case 1: offset = &s->requires; break;
    case 2: offset = &s->conflicts; break;
    case 3: offset = &s->obsoletes; break;
    case 4: offset = &s->recommends; break;
    case 5: offset = &s->suggests; break;
    case 6: offset = &s->supplements; break;
    case 7: offset = &s->enhances; break;
    default: abort();
    }
    *offset = repo_addid_dep(s->repo, *offset, dep, marker);
}

/* Zero-terminated; valid until the pool is changed, which looking up another dependency already does. */
const Id *koschei_whatprovides(Pool *pool, Id dep) {
    return pool_whatprovides_ptr(pool, dep);
}

Queue *koschei_queue_new(void) {
    Queue *q = malloc(sizeof(*q));
    if (!q)
        abort();
    queue_init(q);
    return q;
}

void koschei_queue_free(Queue *q) {
    queue_free(q);
    free(q);
}

void koschei_queue_push(Queue *q, Id id) {
    queue_push(q, id);
}

int koschei_queue_count(const Queue *q) {
    return q->count;
}

const Id *koschei_queue_elements(const Queue *q) {
    return q->elements;
}
