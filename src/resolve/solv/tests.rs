//! Tests the boundary to libsolv from the safe side: nothing of one pool is ever used in another.
//!
//! These tests need not notice a wild memory access. To be sure, run them under a memory checker:
//! `valgrind --error-exitcode=1 target/debug/deps/koschei-… --test-threads=1 resolve::solv`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use rstest::rstest;

use super::ffi::{Dep, Job, List, Place, Pool, Repo, SolvableId, Solved, Text};
use crate::repodata::{Op, RichOp};

/// A pool, and one of each thing that it numbers.
struct Filled {
    pool: Pool,
    text: Text,
    relation: Dep,
    repo: Repo,
    package: SolvableId,
}

/// Makes a pool with packages of one name. `texts` adds strings, relations and packages, so that
/// its numbers are larger than the tables of another pool.
fn filled(texts: usize) -> Filled {
    let mut pool = Pool::new("x86_64").unwrap();
    for i in 0..texts {
        let name = pool.intern(&format!("text{i}")).unwrap();
        pool.relation(name, Op::Ge, name);
    }
    let [name, evr, arch] = ["foo", "1-1", "noarch"].map(|text| pool.intern(text).unwrap());
    let repo = pool.add_repo(c"repo", 1 + texts, 0).unwrap();
    let package = repo.nth(texts);
    for place in 0..=texts {
        pool.set_nevra(repo.nth(place), name, evr, arch);
    }
    let relation = pool.relation(name, Op::Eq, evr);
    pool.add_dep(package, List::Provides, relation, Place::Only);
    pool.index();
    Filled { pool, text: name, relation, repo, package }
}

fn ignore<T>(_: T) {}

fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}

/// A call, with a name for it in messages.
type Named<'a> = (&'a str, &'a mut dyn FnMut(&mut Pool));

/// Every function that takes something numbered by a pool panics if it belongs to another pool. The
/// other pool may be alive or dropped, larger or smaller.
#[rstest]
fn of_another_pool(#[values(false, true)] dropped: bool, #[values(0, 5_000)] texts: usize) {
    let mut own = filled(0);
    let other = filled(texts);
    let Filled { text, relation, repo, package, pool } = other;
    let other = if dropped { None } else { Some(pool) };
    let (p, t, d) = (own.package, own.text, own.relation);
    let pool = &mut own.pool;
    let calls: [Named<'_>; 15] = [
        ("relation, name", &mut |pool| ignore(pool.relation(text, Op::Eq, t))),
        ("relation, evr", &mut |pool| ignore(pool.relation(t, Op::Eq, text))),
        ("rich, left", &mut |pool| ignore(pool.rich(RichOp::Or, relation, d))),
        ("rich, right", &mut |pool| ignore(pool.rich(RichOp::Or, d, relation))),
        ("installable", &mut |pool| ignore(pool.installable(package))),
        ("arch_score", &mut |pool| ignore(pool.arch_score(text))),
        ("arch_color", &mut |pool| ignore(pool.arch_color(text))),
        ("set_nevra, package", &mut |pool| pool.set_nevra(package, t, t, t)),
        ("set_nevra, evr", &mut |pool| pool.set_nevra(p, t, text, t)),
        ("add_dep, package", &mut |pool| pool.add_dep(package, List::Requires, d, Place::Normal)),
        ("add_dep, dependency", &mut |pool| pool.add_dep(p, List::Requires, relation, Place::Normal)),
        ("set_installed", &mut |pool| pool.set_installed(repo)),
        ("providers", &mut |pool| ignore(pool.providers(relation))),
        ("solve for a dependency", &mut |pool| ignore(pool.solve(&[Job::Provides(text.into())]))),
        ("solve for packages", &mut |pool| ignore(pool.solve(&[Job::OneOf(vec![p, package])]))),
    ];
    for (name, call) in calls {
        assert!(panics(|| call(pool)), "{name}");
    }
    drop(other);
    assert_eq!(pool.solve(&[Job::Provides(d)]), Solved::Installed(vec![p]), "the pool is as it was");
}

#[test]
fn beyond_the_last_package_of_a_repository() {
    let own = filled(3);
    assert!(panics(|| ignore(own.repo.nth(4))) && panics(|| ignore(own.repo.nth(usize::MAX))));
    let mut pool = Pool::new("x86_64").unwrap();
    let empty = pool.add_repo(c"empty", 0, 0).unwrap();
    assert!(panics(|| ignore(empty.nth(0))));
    assert_eq!(empty.first(), pool.add_repo(c"next", 1, 0).unwrap().nth(0).index());
}

/// A pool looks nothing up if its packages changed since it was indexed.
#[test]
fn index_comes_before() {
    let mut own = filled(0);
    let (text, dep) = (own.text, own.relation);
    own.pool.set_nevra(own.package, text, text, text);
    assert!(panics(|| ignore(own.pool.providers(dep))) && panics(|| ignore(own.pool.solve(&[]))));
    own.pool.index();
    own.pool.set_installed(own.repo);
    assert!(panics(|| ignore(own.pool.providers(dep))));
    own.pool.index();
    assert_eq!(own.pool.providers(dep), [own.package]);
}

proptest! {
    /// Calls in any order, on two pools, with anything that was ever handed out. Now and then one
    /// pool is made anew. Each call works or panics. No string but an architecture has a score
    /// above 1.
    #[test]
    fn any_order_of_calls(
        calls in prop::collection::vec((0u8..12, any::<[prop::sample::Index; 3]>(), any::<bool>()), 0..60)
    ) {
        let mut pools = [filled(0), filled(40)];
        let (mut texts, mut deps, mut packages, mut repos) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for p in &pools {
            texts.push(p.text);
            deps.extend([p.relation, p.text.into()]);
            packages.push(p.package);
            repos.push(p.repo);
        }
        for (call, [a, b, c], which) in calls {
            let pool = &mut pools[usize::from(which)].pool;
            let (text, dep, package, repo) = (*a.get(&texts), *a.get(&deps), *c.get(&packages), *b.get(&repos));
            let (text2, dep2) = (*b.get(&texts), *b.get(&deps));
            // A panic is an acceptable answer, but nothing may crash.
            drop(catch_unwind(AssertUnwindSafe(|| match call {
                0 => texts.push(pool.intern(&format!("t{}", b.index(100))).unwrap()),
                1 => deps.push(pool.relation(text, Op::Ge, text2)),
                2 => deps.push(pool.rich(RichOp::If, dep, dep2)),
                3 => ignore(pool.installable(package)),
                4 => assert!(pool.arch_score(text) <= 1 || pool.arch_color(text) > 0),
                5 => pool.set_nevra(package, text, text2, text),
                6 => pool.add_dep(package, List::Conflicts, dep, Place::Only),
                7 => pool.index(),
                8 => pool.set_installed(repo),
                9 => packages.extend(pool.providers(dep)),
                10 => ignore(pool.solve(&[Job::Provides(dep), Job::OneOf(vec![package])])),
                _ => repos.push(pool.add_repo(c"more", b.index(3), 0).unwrap()),
            })));
            if call == 0 && c.index(4) == 0 {
                pools[usize::from(which)] = filled(b.index(80));
            }
        }
    }
}
