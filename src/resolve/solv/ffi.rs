//! The boundary to libsolv: the only module with `unsafe` in it. Outside, a [`Pool`] is an ordinary value.
//!
//! Why it is sound:
//! * A [`Pool`] owns everything libsolv allocates for it and frees it once, in `Drop`. Repositories live as long as
//!   their pool. A solver lives inside [`Pool::solve`] and is freed, by a guard, before anything else can touch the
//!   pool.
//! * It is neither `Send` nor `Sync`: libsolv fills caches even on look-ups. Each thread makes its own pool.
//! * libsolv's numbers and pointers are wrapped by type: a [`Text`] is a string, a [`Dep`] a string or a relation, a
//!   [`SolvableId`] a package, a [`Repo`] a repository. None can be made up outside this module, and each knows its
//!   pool by a number no other pool of the process ever has. A call with one of another pool, dropped or not, panics
//!   before libsolv sees it. What a pool has numbered it keeps as long as it lives, so that those of the same pool are
//!   never too large.
//! * [`Pool::providers`] and [`Pool::solve`] panic unless [`Pool::index`] came after the last change of packages.
//! * Pointers libsolv returns are valid until its next call at most: they are copied before this module returns.
//! * Text with a NUL byte never reaches libsolv.
#![expect(unsafe_code, reason = "libsolv is a C library; this is the one module that calls it")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::repodata::{Op, RichOp};

/// The library's own version.
pub(super) fn version() -> String {
    // SAFETY: `solv_version` is a constant NUL-terminated array in the library.
    unsafe { CStr::from_ptr((&raw const solv_version).cast()) }.to_string_lossy().into_owned()
}

/// What a C function is asked with: opaque, never made by us.
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

/// What libdnf (hawkey) sets for every goal.
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

/// Which pool something is of. No two pools of a process have the same.
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
    /// Position in the pool. 0 is nothing, 1 the system itself, ours begin at 2.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.raw).expect("solvable numbers are never negative")
    }
}

/// A repository of one pool, and its packages, which are numbered without a gap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repo {
    pool: PoolNumber,
    raw: NonNull<RawRepo>,
    first: RawId,
    count: RawId,
}

impl Repo {
    /// Position in the pool of the first package, or of the one that would be.
    pub(super) fn first(&self) -> usize {
        usize::try_from(self.first).expect("solvable numbers are never negative")
    }

    /// The package in a place.
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
    /// Strong, forward.
    Requires = 1,
    /// Exclusion.
    Conflicts = 2,
    /// Replacement.
    Obsoletes = 3,
    /// Weak, forward.
    Recommends = 4,
    /// Weaker, forward.
    Suggests = 5,
    /// Weak, backward.
    Supplements = 6,
    /// Weaker, backward.
    Enhances = 7,
}

/// Where in its list an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// The list has one part.
    Only,
    /// A requirement that is not for a scriptlet.
    Normal,
    /// A requirement for a scriptlet.
    Pre,
    /// A provide that stands for an owned file.
    File,
}

/// Text that C cannot hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HasNul;

/// One thing to install, or to keep out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Job {
    /// Something that provides this.
    Provides(Dep),
    /// One of these packages.
    OneOf(Vec<SolvableId>),
    /// The same; version and architecture count as chosen by who asks, so that rules about inferior architectures are
    /// dropped.
    Chosen(Vec<SolvableId>),
    /// None of these packages; what is installed and only they need may go with those of them that are installed.
    NoneOf(Vec<SolvableId>),
    /// These packages, of those that are installed, are there for their own sake: they go with nothing.
    Kept(Vec<SolvableId>),
}

/// What the solver said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Solved {
    /// Everything that is installed at the end, in order of decision.
    Installed(Vec<SolvableId>),
    /// Why not: per problem its lines, the leading one first.
    Problems(Vec<Vec<Line>>),
}

/// A line of a problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// In libsolv's words.
    pub(super) text: String,
    /// What its words leave out.
    pub(super) about: About,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum About {
    /// What it says.
    Itself,
    /// The job in this place.
    Job(usize),
    /// That nothing provides this.
    Missing(Dep),
}

/// libsolv's pool.
pub(super) struct Pool {
    raw: NonNull<RawPool>,
    number: PoolNumber,
    /// Solvables there are, the first two being libsolv's own.
    solvables: RawId,
    /// The provides are indexed.
    indexed: bool,
    /// Weak dependencies of what is installed are installed, too.
    pub(super) weak_deps: bool,
    /// Makes it neither `Send` nor `Sync`.
    _thread: PhantomData<*mut ()>,
}

impl Pool {
    /// A pool with RPM's rules in which the packages of `arch` and of those compatible with it are installable.
    pub(super) fn new(arch: &str) -> Result<Self, HasNul> {
        let arch = CString::new(arch).map_err(|_| HasNul)?;
        // SAFETY: no precondition; libsolv aborts when memory is out, so the result is not null.
        let raw = NonNull::new(unsafe { pool_create() }).expect("pool_create aborts rather than return null");
        let pool = Self {
            raw,
            number: PoolNumber::next(),
            solvables: 2,
            indexed: false,
            weak_deps: false,
            _thread: PhantomData,
        };
        // SAFETY: the pool is ours and empty, which pool_setdisttype asks for; the text ends with NUL and is copied.
        // Debian builds libsolv for deb packages, Fedora so that a 32-bit and a 64-bit package of one name may be
        // installed together: say both, so that the answer does not depend on who built the library.
        unsafe {
            pool_setdisttype(raw.as_ptr(), DISTTYPE_RPM);
            pool_set_flag(raw.as_ptr(), POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS, 1);
            pool_setarch(raw.as_ptr(), arch.as_ptr());
        }
        Ok(pool)
    }

    /// The number of a text.
    pub(super) fn intern(&mut self, text: &str) -> Result<Text, HasNul> {
        let text = CString::new(text).map_err(|_| HasNul)?;
        // SAFETY: the text ends with NUL and is copied.
        let raw = unsafe { pool_str2id(self.raw.as_ptr(), text.as_ptr(), 1) };
        Ok(Text { pool: self.number, raw })
    }

    /// `name op evr`.
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

    /// A rich dependency of two parts.
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
        // SAFETY: both are of this pool.
        let raw = unsafe { pool_rel2id(self.raw.as_ptr(), left.raw, right.raw, flags, 1) };
        Dep { pool: self.number, raw }
    }

    /// A repository with `count` packages without any content, numbered upwards without gap after those of the
    /// repositories before. Of several repositories the higher priority wins. `None` when there would be more packages
    /// than libsolv can number.
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

    /// Everything that goes to libsolv goes through here first.
    fn check(&self, pool: PoolNumber) {
        assert_eq!(pool, self.number, "of another pool");
    }

    /// Could be installed: not a source package, of a fitting architecture.
    pub(super) fn installable(&self, p: SolvableId) -> bool {
        self.check(p.pool);
        // SAFETY: p is of this pool.
        unsafe { koschei_installable(self.raw.as_ptr(), p.raw) != 0 }
    }

    /// libsolv's score of an architecture: 0 not installable, 1 `noarch`, else lower is better and the upper half its
    /// class.
    pub(super) fn arch_score(&self, arch: Text) -> u32 {
        self.check(arch.pool);
        // SAFETY: a string of this pool; the number is compared with the size of the table.
        let score = unsafe { koschei_arch_score(self.raw.as_ptr(), arch.raw) };
        u32::try_from(score).unwrap_or(0)
    }

    /// Architectures that share a bit are not installed side by side under one name.
    pub(super) fn arch_color(&mut self, arch: Text) -> u8 {
        self.check(arch.pool);
        // SAFETY: a string of this pool; libsolv compares the number with the size of its table.
        unsafe { koschei_arch_color(self.raw.as_ptr(), arch.raw) }
    }

    /// Sets what a package is called.
    pub(super) fn set_nevra(&mut self, p: SolvableId, name: Text, evr: Text, arch: Text) {
        for pool in [p.pool, name.pool, evr.pool, arch.pool] {
            self.check(pool);
        }
        self.indexed = false;
        // SAFETY: all are of this pool.
        unsafe { koschei_set_nevra(self.raw.as_ptr(), p.raw, name.raw, evr.raw, arch.raw) }
    }

    /// Appends to a list; a repetition is dropped. Cheap only while one list is filled at a time.
    pub(super) fn add_dep(&mut self, p: SolvableId, list: List, dep: Dep, place: Place) {
        self.check(p.pool);
        self.check(dep.pool);
        self.indexed = false;
        // SAFETY: both are of this pool, and p of a repository, as only add_repo makes packages; the markers are
        // constants.
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

    /// Indexes all provides. Needed once all packages are in, and again whenever packages were added.
    pub(super) fn index(&mut self) {
        // SAFETY: no precondition. There is no file list in the pool, so pool_addfileprovides only notes that files
        // need not be looked for; the owners were added as provides.
        unsafe {
            pool_addfileprovides(self.raw.as_ptr());
            pool_createwhatprovides(self.raw.as_ptr());
        }
        self.indexed = true;
    }

    /// Regards the packages of a repository as installed. Call [`Pool::index`] afterwards.
    pub(super) fn set_installed(&mut self, repo: Repo) {
        self.check(repo.pool);
        self.indexed = false;
        // SAFETY: of this pool, with which its repositories live.
        unsafe { pool_set_installed(self.raw.as_ptr(), repo.raw.as_ptr()) }
    }

    /// All packages that provide a dependency, in ascending order. [`Pool::index`] comes before.
    pub(super) fn providers(&mut self, dep: Dep) -> Vec<SolvableId> {
        assert!(self.indexed, "Pool::index comes before Pool::providers");
        self.check(dep.pool);
        let mut found = Vec::new();
        // SAFETY: index() has built the tables; the list ends with 0 and is copied before the pool is used again.
        unsafe {
            let mut p = koschei_whatprovides(self.raw.as_ptr(), dep.raw);
            while *p != 0 {
                found.push(SolvableId { pool: self.number, raw: *p });
                p = p.add(1);
            }
        }
        // The system itself (rpmlib and the like) is no package.
        found.retain(|p| p.raw > 1);
        found
    }

    /// Solves with a solver of its own. Weak dependencies influence choices; they are installed only with `weak_deps`.
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
        // SAFETY: solver and queue are alive; flags are constants of the header. dnf's default allows downgrades, which
        // matters where a build requirement wants an older version than the group got; mock passes `--allowerasing`, so
        // what the group got may go altogether. Neither means anything where nothing is installed.
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
        // SAFETY: as above; solver_solve has been called.
        unsafe { solver_get_decisionqueue(raw, decisions.0.as_ptr()) };
        let there = decisions.to_vec().into_iter().filter(|&p| p > 1);
        Solved::Installed(there.map(|raw| SolvableId { pool: self.number, raw }).collect())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: made by pool_create, freed only here; its solvers are gone, its repositories go with it.
        unsafe { pool_free(self.raw.as_ptr()) }
    }
}

struct Solver(NonNull<RawSolver>);

impl Solver {
    fn problems(&self, pool: PoolNumber) -> Vec<Vec<Line>> {
        let raw = self.0.as_ptr();
        // SAFETY: the solver is alive and has solved; problems are numbered from 1; rule numbers come from the solver.
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

    /// Adds what a rule says, without repetition.
    fn describe(&self, rule: RawId, pool: PoolNumber, lines: &mut Vec<Line>) {
        let infos = Queue::new();
        // SAFETY: as in problems(); the text is valid until the next calls of libsolv and is copied at once.
        unsafe {
            solver_allruleinfos(self.0.as_ptr(), rule, infos.0.as_ptr());
            for info in infos.to_vec().chunks_exact(4) {
                let text = solver_problemruleinfo2str(self.0.as_ptr(), info[0], info[1], info[2], info[3]);
                let about = match info[0] {
                    // The job's place in the queue, of which each takes two.
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
        // SAFETY: made by solver_create, freed only here.
        unsafe { solver_free(self.0.as_ptr()) }
    }
}

struct Queue(NonNull<RawQueue>);

impl Queue {
    fn new() -> Self {
        // SAFETY: no precondition; aborts when memory is out.
        Self(NonNull::new(unsafe { koschei_queue_new() }).expect("koschei_queue_new aborts rather than return null"))
    }

    fn push(&self, id: RawId) {
        // SAFETY: the queue is alive.
        unsafe { koschei_queue_push(self.0.as_ptr(), id) }
    }

    fn to_vec(&self) -> Vec<RawId> {
        // SAFETY: elements points to count numbers, or is null when there are none; they are copied at once.
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
        // SAFETY: made by koschei_queue_new, freed only here.
        unsafe { koschei_queue_free(self.0.as_ptr()) }
    }
}
