//! The boundary to libsolv. It is the only module with `unsafe` in it. To its users, a [`Pool`] is
//! an ordinary value.
//!
//! Why it is sound:
//! * A [`Pool`] owns everything that libsolv allocates for it and frees it once, in `Drop`.
//!   Repositories live as long as their pool. A solver lives inside [`Pool::solve`], and a guard
//!   frees it before anything else can touch the pool.
//! * A pool is neither `Send` nor `Sync`: libsolv fills caches even on look-ups. Each thread makes
//!   its own pool.
//! * Types wrap libsolv's numbers and pointers: a [`Text`] is a string, a [`Dep`] is a string or a
//!   relation, a [`SolvableId`] is a package, a [`Repo`] is a repository. Only this module can make
//!   them. Each holds the number of its pool, which no other pool of the process ever has. A call
//!   with a value of another pool, dropped or not, panics before libsolv sees it. A pool keeps what
//!   it has numbered as long as it lives, so a number of the same pool is never too large.
//! * [`Pool::providers`] and [`Pool::solve`] panic if packages changed after the last
//!   [`Pool::index`].
//! * A pointer from libsolv is valid at most until its next call. We copy its content before this
//!   module returns.
//! * Text with a NUL byte never reaches libsolv.
#![expect(unsafe_code, reason = "libsolv is a C library; this is the one module that calls it")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::repodata::{Op, RichOp};

/// Returns the library's own version.
pub(super) fn version() -> String {
    // SAFETY: `solv_version` is a constant NUL-terminated array in the library.
    unsafe { CStr::from_ptr((&raw const solv_version).cast()) }.to_string_lossy().into_owned()
}

/// Opaque types of libsolv that its functions take by pointer. We never make them ourselves.
#[repr(C)]
struct RawPool {
    _private: [u8; 0],
}
#[repr(C)]
struct RawRepo {
    _private: [u8; 0],
}
#[repr(C)]
struct RawSolver {
    _private: [u8; 0],
}
#[repr(C)]
struct RawQueue {
    _private: [u8; 0],
}

type RawId = c_int;

const DISTTYPE_RPM: c_int = 0;
const POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS: c_int = 10;
const REL_GT: c_int = 1;
const REL_EQ: c_int = 2;
const REL_LT: c_int = 4;
const REL_AND: c_int = 16;
const REL_OR: c_int = 17;
const REL_WITH: c_int = 18;
const REL_COND: c_int = 22;
const REL_ELSE: c_int = 26;
const REL_WITHOUT: c_int = 28;
const REL_UNLESS: c_int = 29;
const SOLVER_SOLVABLE_PROVIDES: c_int = 0x03;
const SOLVER_SOLVABLE_ONE_OF: c_int = 0x04;
const SOLVER_INSTALL: c_int = 0x0100;
const SOLVER_ERASE: c_int = 0x0200;
const SOLVER_USERINSTALLED: c_int = 0x0a00;
const SOLVER_CLEANDEPS: c_int = 0x0004_0000;
const SOLVER_SETEVR: c_int = 0x0200_0000;
const SOLVER_SETARCH: c_int = 0x0400_0000;
const RULE_PKG_NOTHING_PROVIDES_DEP: RawId = 0x102;
const RULE_JOB: RawId = 0x400;
const FLAG_ALLOW_DOWNGRADE: c_int = 1;
const FLAG_ALLOW_VENDORCHANGE: c_int = 3;
const FLAG_ALLOW_UNINSTALL: c_int = 4;
const FLAG_IGNORE_RECOMMENDED: c_int = 7;
const FLAG_BEST_OBEY_POLICY: c_int = 12;
const FLAG_KEEP_ORPHANS: c_int = 18;
const FLAG_YUM_OBSOLETES: c_int = 21;
const FLAG_URPM_REORDER: c_int = 23;

/// The flags that libdnf (hawkey) sets for every goal.
const FLAGS: [c_int; 5] =
    [FLAG_KEEP_ORPHANS, FLAG_BEST_OBEY_POLICY, FLAG_YUM_OBSOLETES, FLAG_URPM_REORDER, FLAG_ALLOW_VENDORCHANGE];

unsafe extern "C" {
    static solv_version: [c_char; 0];
    fn pool_create() -> *mut RawPool;
    fn pool_free(pool: *mut RawPool);
    fn pool_setdisttype(pool: *mut RawPool, disttype: c_int) -> c_int;
    fn pool_set_flag(pool: *mut RawPool, flag: c_int, value: c_int) -> c_int;
    fn pool_setarch(pool: *mut RawPool, arch: *const c_char);
    fn pool_set_installed(pool: *mut RawPool, repo: *mut RawRepo);
    fn pool_str2id(pool: *mut RawPool, text: *const c_char, create: c_int) -> RawId;
    fn pool_rel2id(pool: *mut RawPool, name: RawId, evr: RawId, flags: c_int, create: c_int) -> RawId;
    fn pool_addfileprovides(pool: *mut RawPool);
    fn pool_createwhatprovides(pool: *mut RawPool);
    fn pool_ids2whatprovides(pool: *mut RawPool, ids: *const RawId, count: c_int) -> RawId;
    fn repo_create(pool: *mut RawPool, name: *const c_char) -> *mut RawRepo;
    fn repo_add_solvable_block(repo: *mut RawRepo, count: c_int) -> RawId;
    fn solver_create(pool: *mut RawPool) -> *mut RawSolver;
    fn solver_free(solver: *mut RawSolver);
    fn solver_set_flag(solver: *mut RawSolver, flag: c_int, value: c_int) -> c_int;
    fn solver_solve(solver: *mut RawSolver, jobs: *mut RawQueue) -> c_int;
    fn solver_get_decisionqueue(solver: *mut RawSolver, out: *mut RawQueue);
    fn solver_problem_count(solver: *mut RawSolver) -> c_int;
    fn solver_findproblemrule(solver: *mut RawSolver, problem: RawId) -> RawId;
    fn solver_findallproblemrules(solver: *mut RawSolver, problem: RawId, out: *mut RawQueue);
    fn solver_allruleinfos(solver: *mut RawSolver, rule: RawId, out: *mut RawQueue) -> c_int;
    fn solver_problemruleinfo2str(
        solver: *mut RawSolver,
        kind: c_int,
        source: RawId,
        target: RawId,
        dep: RawId,
    ) -> *const c_char;

    static koschei_prereqmarker: RawId;
    static koschei_filemarker: RawId;
    fn koschei_installable(pool: *const RawPool, p: RawId) -> c_int;
    fn koschei_arch_score(pool: *const RawPool, arch: RawId) -> RawId;
    fn koschei_arch_color(pool: *mut RawPool, arch: RawId) -> u8;
    fn koschei_set_priority(repo: *mut RawRepo, priority: c_int);
    fn koschei_set_nevra(pool: *mut RawPool, p: RawId, name: RawId, evr: RawId, arch: RawId);
    fn koschei_add_dep(pool: *mut RawPool, p: RawId, list: c_int, dep: RawId, marker: RawId);
    fn koschei_whatprovides(pool: *mut RawPool, dep: RawId) -> *const RawId;
    fn koschei_queue_new() -> *mut RawQueue;
    fn koschei_queue_free(queue: *mut RawQueue);
    fn koschei_queue_push(queue: *mut RawQueue, id: RawId);
    fn koschei_queue_count(queue: *const RawQueue) -> c_int;
    fn koschei_queue_elements(queue: *const RawQueue) -> *const RawId;
}

/// Identifies the pool of a value. No two pools of a process have the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct PoolNumber(u32);

impl PoolNumber {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_add(1));
        Self(next.expect("a process makes fewer than 2³² pools"))
    }
}

/// A string inside the pool that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Text {
    pool: PoolNumber,
    raw: RawId,
}

/// A dependency inside the pool that made it: a name, or a relation of two dependencies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dep {
    pool: PoolNumber,
    raw: RawId,
}

impl From<Text> for Dep {
    fn from(name: Text) -> Self {
        Self { pool: name.pool, raw: name.raw }
    }
}

/// A package inside the pool that made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct SolvableId {
    pool: PoolNumber,
    raw: RawId,
}

impl SolvableId {
    /// Returns the position in the pool. 0 is nothing, 1 is the system itself, and our packages
    /// begin at 2.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.raw).expect("solvable numbers are never negative")
    }
}

/// A repository of one pool, with its packages. They are numbered without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repo {
    pool: PoolNumber,
    raw: NonNull<RawRepo>,
    first: RawId,
    count: RawId,
}

impl Repo {
    /// Returns the position in the pool of the first package. If the repository is empty, it is the
    /// position that package would have.
    pub(super) fn first(&self) -> usize {
        usize::try_from(self.first).expect("solvable numbers are never negative")
    }

    /// Returns the package at a position.
    pub(super) fn nth(&self, place: usize) -> SolvableId {
        let place = RawId::try_from(place).ok().filter(|place| *place < self.count);
        let place = place.expect("a package of this repository");
        SolvableId { pool: self.pool, raw: self.first + place }
    }
}

/// The dependency lists of a package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum List {
    /// Capabilities.
    Provides = 0,
    /// Strong dependencies, forward.
    Requires = 1,
    /// Exclusions.
    Conflicts = 2,
    /// Replacements.
    Obsoletes = 3,
    /// Weak dependencies, forward.
    Recommends = 4,
    /// Weaker dependencies, forward.
    Suggests = 5,
    /// Weak dependencies, backward.
    Supplements = 6,
    /// Weaker dependencies, backward.
    Enhances = 7,
}

/// The part of its list to which an entry belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The list has only one part.
    Only,
    /// Requirements that are not for a scriptlet.
    Normal,
    /// Requirements for a scriptlet.
    Pre,
    /// Provides that stand for an owned file.
    File,
}

/// The error for a text with a NUL byte, which C cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HasNul;

/// A thing to install or to keep out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Install a package that provides this.
    Provides(Dep),
    /// Install one of these packages.
    OneOf(Vec<SolvableId>),
    /// Install one of these packages, whose version and architecture the caller has chosen. libsolv
    /// then drops its rules about inferior architectures.
    Chosen(Vec<SolvableId>),
    /// Install none of these packages and remove the installed ones. Installed packages that only
    /// they need may be removed, too.
    NoneOf(Vec<SolvableId>),
    /// Treat the installed ones of these packages as wanted for themselves. They are not removed
    /// together with others.
    Kept(Vec<SolvableId>),
}

/// The solver's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Solved {
    /// Everything that is installed at the end, in the order of decision.
    Installed(Vec<SolvableId>),
    /// Why there is no answer: the lines of each problem, its main line first.
    Problems(Vec<Vec<Line>>),
}

/// A line of a problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// The text, as libsolv words it.
    pub(super) text: String,
    /// What the text leaves out.
    pub(super) about: About,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// Nothing beyond its text.
    Itself,
    /// The job with this index.
    Job(usize),
    /// A dependency that nothing provides.
    Missing(Dep),
}

/// A pool of libsolv.
pub(super) struct Pool {
    raw: NonNull<RawPool>,
    number: PoolNumber,
    /// Number of solvables. The first two are libsolv's own.
    solvables: RawId,
    /// Whether the provides are indexed.
    indexed: bool,
    /// Whether weak dependencies of installed packages are installed, too.
    pub(super) weak_deps: bool,
    /// Makes the pool neither `Send` nor `Sync`.
    _thread: PhantomData<*mut ()>,
}

impl Pool {
    /// Makes a pool with RPM's rules. Packages of `arch` and of architectures compatible with it
    /// are installable.
    pub(super) fn new(arch: &str) -> Result<Self, HasNul> {
        let arch = CString::new(arch).map_err(|_| HasNul)?;
        // SAFETY: no precondition. libsolv aborts when memory runs out, so the result is not null.
        let raw = NonNull::new(unsafe { pool_create() }).expect("pool_create aborts rather than return null");
        let pool = Self {
            raw,
            number: PoolNumber::next(),
            solvables: 2,
            indexed: false,
            weak_deps: false,
            _thread: PhantomData,
        };
        // SAFETY: the pool is ours and empty, which pool_setdisttype requires. The text ends with
        // NUL and is copied. Debian builds libsolv for deb packages. Fedora builds it so that a
        // 32-bit and a 64-bit package of one name may be installed together. We set both options,
        // so that the answer does not depend on who built the library.
        unsafe {
            pool_setdisttype(raw.as_ptr(), DISTTYPE_RPM);
            pool_set_flag(raw.as_ptr(), POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS, 1);
            pool_setarch(raw.as_ptr(), arch.as_ptr());
        }
        Ok(pool)
    }

    /// Returns the number of a text.
    pub(super) fn intern(&mut self, text: &str) -> Result<Text, HasNul> {
        let text = CString::new(text).map_err(|_| HasNul)?;
        // SAFETY: the text ends with NUL and is copied.
        let raw = unsafe { pool_str2id(self.raw.as_ptr(), text.as_ptr(), 1) };
        Ok(Text { pool: self.number, raw })
    }

    /// Returns the dependency `name op evr`.
    pub(super) fn relation(&mut self, name: Text, op: Op, evr: Text) -> Dep {
        let flags = match op {
            Op::Lt => REL_LT,
            Op::Le => REL_LT | REL_EQ,
            Op::Eq => REL_EQ,
            Op::Ge => REL_GT | REL_EQ,
            Op::Gt => REL_GT,
        };
        self.rel(name.into(), evr.into(), flags)
    }

    /// Returns a rich dependency of two parts.
    pub(super) fn rich(&mut self, op: RichOp, left: Dep, right: Dep) -> Dep {
        let flags = match op {
            RichOp::And => REL_AND,
            RichOp::Or => REL_OR,
            RichOp::If => REL_COND,
            RichOp::Unless => REL_UNLESS,
            RichOp::Else => REL_ELSE,
            RichOp::With => REL_WITH,
            RichOp::Without => REL_WITHOUT,
        };
        self.rel(left, right, flags)
    }

    fn rel(&mut self, left: Dep, right: Dep, flags: c_int) -> Dep {
        self.check(left.pool);
        self.check(right.pool);
        // SAFETY: both belong to this pool.
        let raw = unsafe { pool_rel2id(self.raw.as_ptr(), left.raw, right.raw, flags, 1) };
        Dep { pool: self.number, raw }
    }

    /// Adds a repository with `count` empty packages. They are numbered without gaps after those of
    /// the earlier repositories. Of several repositories, the higher priority wins. Returns `None`
    /// if there would be more packages than libsolv can number.
    pub(super) fn add_repo(&mut self, name: &CStr, count: usize, priority: i32) -> Option<Repo> {
        let count = RawId::try_from(count).ok()?;
        let solvables = self.solvables.checked_add(count)?;
        self.indexed = false;
        // SAFETY: the name is copied; the repository belongs to the pool and is freed with it.
        let raw = NonNull::new(unsafe { repo_create(self.raw.as_ptr(), name.as_ptr()) })?;
        let repo = Repo { pool: self.number, raw, first: self.solvables, count };
        // SAFETY: the repository was just made.
        unsafe { koschei_set_priority(raw.as_ptr(), priority) };
        if count > 0 {
            // SAFETY: the repository was just made by this pool.
            let first = unsafe { repo_add_solvable_block(raw.as_ptr(), count) };
            assert_eq!(first, self.solvables, "libsolv numbers solvables upwards");
            self.solvables = solvables;
        }
        Some(repo)
    }

    /// Panics if something belongs to another pool. Everything that goes to libsolv is checked here
    /// first.
    fn check(&self, pool: PoolNumber) {
        assert_eq!(pool, self.number, "of another pool");
    }

    /// Checks whether a package can be installed: it is not a source package, and its architecture
    /// fits.
    pub(super) fn installable(&self, p: SolvableId) -> bool {
        self.check(p.pool);
        // SAFETY: p belongs to this pool.
        unsafe { koschei_installable(self.raw.as_ptr(), p.raw) != 0 }
    }

    /// Returns libsolv's score of an architecture: 0 not installable, 1 `noarch`. Of the other
    /// scores, lower is better. Their upper half is the class.
    pub(super) fn arch_score(&self, arch: Text) -> u32 {
        self.check(arch.pool);
        // SAFETY: the string belongs to this pool. The number is compared with the size of the
        // table.
        let score = unsafe { koschei_arch_score(self.raw.as_ptr(), arch.raw) };
        u32::try_from(score).unwrap_or(0)
    }

    /// Returns libsolv's color of an architecture, as bits. Packages of one name are not installed
    /// side by side if their architectures share a bit.
    pub(super) fn arch_color(&mut self, arch: Text) -> u8 {
        self.check(arch.pool);
        // SAFETY: the string belongs to this pool. libsolv compares the number with the size of its
        // table.
        unsafe { koschei_arch_color(self.raw.as_ptr(), arch.raw) }
    }

    /// Sets name, version and architecture of a package.
    pub(super) fn set_nevra(&mut self, p: SolvableId, name: Text, evr: Text, arch: Text) {
        for pool in [p.pool, name.pool, evr.pool, arch.pool] {
            self.check(pool);
        }
        self.indexed = false;
        // SAFETY: all belong to this pool.
        unsafe { koschei_set_nevra(self.raw.as_ptr(), p.raw, name.raw, evr.raw, arch.raw) }
    }

    /// Appends to a list, dropping repetitions. It is cheap only while one list is filled at a
    /// time.
    pub(super) fn add_dep(&mut self, p: SolvableId, list: List, dep: Dep, place: Place) {
        self.check(p.pool);
        self.check(dep.pool);
        self.indexed = false;
        // SAFETY: both belong to this pool. p is of a repository, as only add_repo makes packages.
        // The markers are constants.
        unsafe {
            let marker = match place {
                Place::Only => 0,
                Place::Normal => -koschei_prereqmarker,
                Place::Pre => koschei_prereqmarker,
                Place::File => koschei_filemarker,
            };
            koschei_add_dep(self.raw.as_ptr(), p.raw, list as c_int, dep.raw, marker);
        }
    }

    /// Indexes all provides. It is needed once all packages are in, and again after packages were
    /// added.
    pub(super) fn index(&mut self) {
        // SAFETY: no precondition. The pool has no file list, so pool_addfileprovides only notes
        // that it need not look for files. The owners were added as provides.
        unsafe {
            pool_addfileprovides(self.raw.as_ptr());
            pool_createwhatprovides(self.raw.as_ptr());
        }
        self.indexed = true;
    }

    /// Makes the packages of a repository count as installed. Call [`Pool::index`] afterwards.
    pub(super) fn set_installed(&mut self, repo: Repo) {
        self.check(repo.pool);
        self.indexed = false;
        // SAFETY: the repository belongs to this pool. Repositories live as long as their pool.
        unsafe { pool_set_installed(self.raw.as_ptr(), repo.raw.as_ptr()) }
    }

    /// Returns all packages that provide a dependency, ascending. Call [`Pool::index`] before.
    pub(super) fn providers(&mut self, dep: Dep) -> Vec<SolvableId> {
        assert!(self.indexed, "Pool::index comes before Pool::providers");
        self.check(dep.pool);
        let mut found = Vec::new();
        // SAFETY: index() has built the tables. The list ends with 0 and is copied before the pool
        // is used again.
        unsafe {
            let mut p = koschei_whatprovides(self.raw.as_ptr(), dep.raw);
            while *p != 0 {
                found.push(SolvableId { pool: self.number, raw: *p });
                p = p.add(1);
            }
        }
        // The system itself (rpmlib and the like) is not a package.
        found.retain(|p| p.raw > 1);
        found
    }

    /// Solves the jobs with a new solver. Weak dependencies influence choices. They are installed
    /// only with `weak_deps`.
    pub(super) fn solve(&mut self, jobs: &[Job]) -> Solved {
        assert!(self.indexed, "Pool::index comes before Pool::solve");
        let queue = Queue::new();
        for job in jobs {
            let (how, what) = match job {
                Job::Provides(dep) => {
                    self.check(dep.pool);
                    (SOLVER_INSTALL | SOLVER_SOLVABLE_PROVIDES, dep.raw)
                }
                Job::OneOf(packages) | Job::Chosen(packages) | Job::NoneOf(packages) | Job::Kept(packages) => {
                    packages.iter().for_each(|p| self.check(p.pool));
                    let ids: Vec<RawId> = packages.iter().map(|p| p.raw).collect();
                    let count = c_int::try_from(ids.len()).unwrap_or(c_int::MAX);
                    // SAFETY: the ids are copied into the pool's table.
                    let list = unsafe { pool_ids2whatprovides(self.raw.as_ptr(), ids.as_ptr(), count) };
                    let action = match job {
                        Job::Chosen(_) => SOLVER_INSTALL | SOLVER_SETARCH | SOLVER_SETEVR,
                        Job::NoneOf(_) => SOLVER_ERASE | SOLVER_CLEANDEPS,
                        Job::Kept(_) => SOLVER_USERINSTALLED,
                        Job::Provides(_) | Job::OneOf(_) => SOLVER_INSTALL,
                    };
                    (action | SOLVER_SOLVABLE_ONE_OF, list)
                }
            };
            queue.push(how);
            queue.push(what);
        }
        // SAFETY: the pool lives longer than the solver, which is freed at the end of this function.
        let solver = Solver(NonNull::new(unsafe { solver_create(self.raw.as_ptr()) }).expect("solver_create aborts"));
        let raw = solver.0.as_ptr();
        // SAFETY: solver and queue are alive. The flags are constants of the header. dnf's default
        // allows downgrades. That matters if a build requirement needs an older version than the
        // group has. mock passes `--allowerasing`, so packages of the group may be removed
        // altogether. Neither flag has an effect if nothing is installed.
        let problems = unsafe {
            for flag in FLAGS {
                solver_set_flag(raw, flag, 1);
            }
            solver_set_flag(raw, FLAG_IGNORE_RECOMMENDED, c_int::from(!self.weak_deps));
            solver_set_flag(raw, FLAG_ALLOW_DOWNGRADE, 1);
            solver_set_flag(raw, FLAG_ALLOW_UNINSTALL, 1);
            solver_solve(raw, queue.0.as_ptr())
        };
        if problems != 0 {
            return Solved::Problems(solver.problems(self.number));
        }
        let decisions = Queue::new();
        // SAFETY: as above, and solver_solve has been called.
        unsafe { solver_get_decisionqueue(raw, decisions.0.as_ptr()) };
        let there = decisions.to_vec().into_iter().filter(|&p| p > 1);
        Solved::Installed(there.map(|raw| SolvableId { pool: self.number, raw }).collect())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: pool_create made the pool, and only this function frees it. Its solvers are gone.
        // Its repositories are freed with it.
        unsafe { pool_free(self.raw.as_ptr()) }
    }
}

struct Solver(NonNull<RawSolver>);

impl Solver {
    fn problems(&self, pool: PoolNumber) -> Vec<Vec<Line>> {
        let raw = self.0.as_ptr();
        // SAFETY: the solver is alive and has solved. Problems are numbered from 1. Rule numbers
        // come from the solver.
        unsafe {
            (1..=solver_problem_count(raw))
                .map(|problem| {
                    let rules = Queue::new();
                    solver_findallproblemrules(raw, problem, rules.0.as_ptr());
                    let mut lines = Vec::new();
                    let leading = solver_findproblemrule(raw, problem);
                    for rule in std::iter::once(leading).chain(rules.to_vec()) {
                        self.describe(rule, pool, &mut lines);
                    }
                    lines
                })
                .collect()
        }
    }

    /// Adds what a rule says, without repetitions.
    fn describe(&self, rule: RawId, pool: PoolNumber, lines: &mut Vec<Line>) {
        let infos = Queue::new();
        // SAFETY: as in problems(). The text is valid until libsolv's next call and is copied at
        // once.
        unsafe {
            solver_allruleinfos(self.0.as_ptr(), rule, infos.0.as_ptr());
            for info in infos.to_vec().chunks_exact(4) {
                let text = solver_problemruleinfo2str(self.0.as_ptr(), info[0], info[1], info[2], info[3]);
                let about = match info[0] {
                    // The job's position in the queue, where each job takes two elements.
                    RULE_JOB => usize::try_from(info[1]).map_or(About::Itself, |at| About::Job(at / 2)),
                    RULE_PKG_NOTHING_PROVIDES_DEP => About::Missing(Dep { pool, raw: info[3] }),
                    _ => About::Itself,
                };
                let line = Line { text: CStr::from_ptr(text).to_string_lossy().into_owned(), about };
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        // SAFETY: solver_create made the solver, and only this function frees it.
        unsafe { solver_free(self.0.as_ptr()) }
    }
}

struct Queue(NonNull<RawQueue>);

impl Queue {
    fn new() -> Self {
        // SAFETY: no precondition. libsolv aborts when memory runs out.
        Self(NonNull::new(unsafe { koschei_queue_new() }).expect("koschei_queue_new aborts rather than return null"))
    }

    fn push(&self, id: RawId) {
        // SAFETY: the queue is alive.
        unsafe { koschei_queue_push(self.0.as_ptr(), id) }
    }

    fn to_vec(&self) -> Vec<RawId> {
        // SAFETY: elements points to count numbers, or is null if there are none. They are copied
        // at once.
        unsafe {
            let count = usize::try_from(koschei_queue_count(self.0.as_ptr())).unwrap_or(0);
            if count == 0 {
                return Vec::new();
            }
            std::slice::from_raw_parts(koschei_queue_elements(self.0.as_ptr()), count).to_vec()
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: koschei_queue_new made the queue, and only this function frees it.
        unsafe { koschei_queue_free(self.0.as_ptr()) }
    }
}
