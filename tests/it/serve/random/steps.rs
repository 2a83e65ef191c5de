//! What can happen to a hub, and the hub it begins with.

use rand::RngExt;
use rand::rngs::StdRng;

use super::{ARCHES, PACKAGES, TAGS, TARGETS};
use crate::hub::{BusMessage, Fault, Hub, Inherit, NewBuild, NewWorld, Tx, World};

/// A step. Numbers are taken modulo what exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Tag(usize, usize),
    Untag(usize, usize),
    Retag(usize, usize),
    Move(usize, usize, usize),
    List(usize, usize),
    Unlist(usize, usize),
    Block(usize, usize),
    Unblock(usize, usize),
    Import(usize),
    Start(usize, usize),
    Complete(usize),
    Fail(usize),
    Cancel(usize),
    Delete(usize),
    Repo(usize),
    BeginRepo(usize),
    FinishRepo(usize),
    FailRepo(usize),
    Expire(usize),
    DeleteRepo(usize),
    Arches(usize, usize),
    Inherit(usize, usize, usize),
    Disinherit(usize, usize),
    Group(usize, usize),
    Ungroup(usize, usize),
    External(usize, usize),
    NoExternal(usize, usize),
    Target(usize, usize, usize),
    NoTarget(usize),
    MakeTag(usize, usize),
    NoTag(usize),
    Side(usize),
    SideBuild(usize, usize),
    Merge(usize, usize),
    NoSide(usize),
    /// Waits until the sent messages were looked up.
    Look,
    /// The service is stopped and started.
    Restart,
}

pub(super) fn random_step(rng: &mut StdRng) -> Step {
    let mut n = || rng.random_range(0..1000);
    let (a, b, c, which) = (n(), n(), n(), n());
    match which % 100 {
        0..14 => Step::Tag(a, b),
        14..21 => Step::Untag(a, b),
        21..24 => Step::Retag(a, b),
        24..28 => Step::Move(a, b, c),
        28..32 => Step::List(a, b),
        32..34 => Step::Unlist(a, b),
        34..37 => Step::Block(a, b),
        37..40 => Step::Unblock(a, b),
        40..45 => Step::Import(a),
        45..49 => Step::Start(a, b),
        49..52 => Step::Complete(a),
        52 => Step::Fail(a),
        53 => Step::Cancel(a),
        54 => Step::Delete(a),
        55..58 => Step::Repo(a),
        58 => Step::BeginRepo(a),
        59 => Step::FinishRepo(a),
        60 => Step::FailRepo(a),
        61..63 => Step::Expire(a),
        63..65 => Step::DeleteRepo(a),
        65..67 => Step::Arches(a, b),
        67..70 => Step::Inherit(a, b, c),
        70..72 => Step::Disinherit(a, b),
        72 => Step::Group(a, b),
        73 => Step::Ungroup(a, b),
        74 => Step::External(a, b),
        75 => Step::NoExternal(a, b),
        76..79 => Step::Target(a, b, c),
        79 => Step::NoTarget(a),
        80..84 => Step::MakeTag(a, b),
        84 => Step::NoTag(a),
        85 => Step::Side(a),
        86..88 => Step::SideBuild(a, b),
        88..90 => Step::Merge(a, b),
        90 => Step::NoSide(a),
        91..98 => Step::Look,
        _ => Step::Restart,
    }
}

pub(super) fn seed(hub: &Hub) {
    let tags = |tx: &mut Tx<'_>| {
        let arches = ["", "", "x86_64 aarch64", "", "", "x86_64", "", ""];
        TAGS.into_iter().zip(arches).try_for_each(|(tag, arches)| tx.create_tag(tag, arches).map(|_| ()))
    };
    let builds = |tx: &mut Tx<'_>| {
        for n in 0..PACKAGES {
            let build = a_build(n, 1);
            tx.import_build(&build)?;
            // Some are listed in a lower tag, some in a higher one, the last two in none yet.
            let tag = ["base", "f99", "f98", "base", "f99"].get(n);
            if let Some(tag) = tag {
                tx.package_list_add(tag, &build.name, "alice")?;
                tx.tag_build(if n % 2 == 0 { tag } else { "f99" }, &build.nvr(), true)?;
            }
        }
        Ok(())
    };
    NewWorld::on(hub)
        .and(tags)
        .inherits("f99", &["base"])
        .inherits("f99-build", &["over", "f99"])
        .inherits("f98", &["base"])
        .inherits("f98-build", &["f98"])
        .target("f99", "f99-build", "f99")
        .target("f98", "f98-build", "f98")
        .build_group("f99-build", &["p0"])
        .and(builds)
        .ready(["f99-build"]);
}

pub(super) fn a_build(package: usize, version: usize) -> NewBuild {
    let name = format!("p{}", package % PACKAGES);
    let build = NewBuild::new(&format!("{name}-{version}-1")).build_requires(&["p0"]);
    build.binary(&name, &ARCHES, &[])
}

/// Returns the `n`th of a table's rows that fit.
pub(super) fn pick<T>(rows: &[T], n: usize, fits: impl Fn(&T) -> bool) -> Option<&T> {
    let fitting: Vec<&T> = rows.iter().filter(|r| fits(r)).collect();
    fitting.get(n % fitting.len().max(1)).copied()
}

pub(super) fn nothing() -> Fault {
    Fault::generic("there is nothing to do it with")
}

/// Does a step, if the hub allows it.
pub(super) fn apply(tx: &mut Tx<'_>, step: Step) -> Result<(), Fault> {
    let tag = |n: usize| TAGS[n % TAGS.len()];
    // Tags that matter more come twice as often.
    let common = |n: usize| ["f99", "f99", "f98", "base", "over", "f99-build", "spare", "deep"][n % 8];
    let package = |n: usize| format!("p{}", n % PACKAGES);
    let build = |tx: &Tx<'_>, n: usize| pick(&tx.w.builds, n, |b| b.state == 1).map(|b| b.nvr()).ok_or_else(nothing);
    let listed = |tx: &Tx<'_>, tag: &str, n: usize| {
        let id = tx.w.tag(tag, None)?;
        let row = pick(&tx.w.tag_listing, n, |l| l.tag == id && l.ver.holds(None)).ok_or_else(nothing)?;
        Ok::<_, Fault>(tx.w.build(row.build).unwrap().nvr())
    };
    let building = |tx: &Tx<'_>, n: usize| pick(&tx.w.builds, n, |b| b.state == 0).map(|b| b.nvr()).ok_or_else(nothing);
    let build_tag = |n: usize| ["f99-build", "f98-build", "f99-build", "spare"][n % 4];
    let repo = |tx: &Tx<'_>, n: usize, states: &[i64]| {
        pick(&tx.w.repos, n, |r| states.contains(&r.state)).map(|r| r.id).ok_or_else(nothing)
    };
    let side = |tx: &Tx<'_>, n: usize| {
        let exists = |t: &crate::hub::rows::Named| t.name.contains("-side-") && tx.w.config(t.id, None).is_some();
        pick(&tx.w.tags, n, exists).map(|t| t.name.clone()).ok_or_else(nothing)
    };
    let next_version = |tx: &Tx<'_>, n: usize| tx.w.builds.iter().filter(|b| b.name == package(n)).count() + 1;
    match step {
        Step::Tag(t, b) => {
            let nvr = build(tx, b)?;
            tx.tag_build(common(t), &nvr, b % 3 == 0)
        }
        Step::Untag(t, b) => {
            let nvr = listed(tx, common(t), b)?;
            tx.untag_build(common(t), &nvr)
        }
        Step::Retag(t, b) => {
            let nvr = listed(tx, common(t), b)?;
            tx.tag_build(common(t), &nvr, true)
        }
        Step::Move(from, to, b) => {
            let nvr = listed(tx, common(from), b)?;
            tx.move_build(common(from), common(to), &nvr)
        }
        Step::List(t, p) => tx.package_list_add(common(t), &package(p), "bob"),
        Step::Unlist(t, p) => tx.package_list_remove(common(t), &package(p)),
        Step::Block(t, p) => tx.package_list_block(tag(t), &package(p)),
        Step::Unblock(t, p) => {
            let blocked = pick(&tx.w.tag_packages, p, |e| e.blocked && e.ver.holds(None)).ok_or_else(nothing)?;
            let (tag, package) = (blocked.tag, blocked.package);
            let _ = t;
            let names = (tx.w.tag_name(tag).unwrap().to_owned(), tx.w.package_name(package).unwrap().to_owned());
            tx.package_list_unblock(&names.0, &names.1)
        }
        Step::Import(p) => tx.import_build(&a_build(p, next_version(tx, p))).map(|_| ()),
        Step::Start(p, target) => {
            let spec = a_build(p, next_version(tx, p));
            tx.start_build("alice", TARGETS[target % 2], &spec).map(|_| ())
        }
        Step::Complete(b) => {
            let nvr = building(tx, b)?;
            tx.complete_build(&nvr)
        }
        Step::Fail(b) => {
            let nvr = building(tx, b)?;
            tx.fail_build(&nvr, 1005, "error building package (arch x86_64), mock exited with status 1")
        }
        Step::Cancel(b) => {
            let nvr = building(tx, b)?;
            tx.cancel_build(&nvr)
        }
        Step::Delete(b) => {
            let nvr = build(tx, b)?;
            tx.delete_build(&nvr)
        }
        Step::Repo(t) => tx.new_repo(build_tag(t)).map(|_| ()),
        Step::BeginRepo(t) => tx.begin_repo(build_tag(t)).map(|_| ()),
        Step::FinishRepo(n) => {
            let id = repo(tx, n, &[0])?;
            tx.finish_repo(id)
        }
        Step::FailRepo(n) => {
            let id = repo(tx, n, &[0])?;
            tx.fail_repo(id, 1000, "createrepo failed")
        }
        Step::Expire(n) => {
            let id = repo(tx, n, &[1])?;
            tx.expire_repo(id)
        }
        Step::DeleteRepo(n) => {
            let id = repo(tx, n, &[1, 2])?;
            tx.delete_repo(id)
        }
        Step::Arches(t, a) => tx.edit_tag_arches(tag(t), ["x86_64", "x86_64 aarch64", "", "aarch64"][a % 4]),
        Step::Inherit(c, p, how) => {
            let (child, parent) = (tag(c), tag(p));
            if TAGS.iter().position(|t| *t == child) == TAGS.iter().position(|t| *t == parent)
                || leads_to(tx.w, parent, child)
            {
                return Err(nothing());
            }
            let how = Inherit {
                priority: i64::try_from(how % 20).unwrap(),
                maxdepth: (how % 5 == 0).then(|| i64::try_from(how % 3).unwrap()),
                intransitive: how % 7 == 0,
                noconfig: how % 11 == 0,
                ..Inherit::default()
            };
            tx.add_inheritance(child, parent, how)
        }
        Step::Disinherit(c, p) => {
            let id = tx.w.tag(tag(c), None)?;
            let row = pick(&tx.w.tag_inheritance, p, |i| i.tag == id && i.ver.holds(None)).ok_or_else(nothing)?;
            let parent = tx.w.tag_name(row.parent).unwrap().to_owned();
            tx.remove_inheritance(tag(c), &parent)
        }
        Step::Group(t, p) => tx.add_group_packages(tag(t), "build", &[&package(p)]),
        Step::Ungroup(t, p) => tx.block_group_packages(tag(t), "build", &[&package(p)]),
        Step::External(t, n) => {
            let name = format!("ext{}", n % 2);
            if tx.external_repo(&name).is_err() {
                tx.create_external_repo(&name, "http://mirror.test/$arch")?;
            }
            tx.add_external_repo(tag(t), &name, i64::try_from(n % 9).unwrap(), "koji", None)
        }
        Step::NoExternal(t, n) => tx.remove_external_repo(tag(t), &format!("ext{}", n % 2)),
        Step::Target(t, b, d) => {
            let (target, dest) = (TARGETS[t % 2], ["f99", "f98", "base", "f99"][d % 4]);
            // Recreates a missing target first.
            match TARGETS.into_iter().find(|t| tx.w.target(t, None).is_none()) {
                Some(missing) => tx.create_target(missing, build_tag(b), dest).map(|_| ()),
                None => tx.edit_target(target, build_tag(b), dest),
            }
        }
        Step::NoTarget(t) => tx.delete_target(TARGETS[t % 2]),
        Step::MakeTag(t, n) => {
            let missing: Vec<&str> = TAGS.into_iter().filter(|t| tx.w.tag(t, None).is_err()).collect();
            let name = missing.get(t % missing.len().max(1)).copied().ok_or_else(nothing)?;
            tx.create_tag(name, ["", "x86_64"][n % 2])?;
            // As people do it: with parents and packages.
            if let Some(parent) = name.strip_suffix("-build") {
                tx.add_inheritance(name, parent, Inherit::default())?;
            }
            (n..n + 3).try_for_each(|n| tx.package_list_add(name, &package(n), "alice"))
        }
        Step::NoTag(t) => tx.delete_tag(tag(t)),
        Step::Side(t) => tx.create_side_tag(build_tag(t)).map(|_| ()),
        Step::SideBuild(s, p) => {
            let side = side(tx, s)?;
            let spec = a_build(p, next_version(tx, p));
            tx.start_build("bob", &side, &spec)?;
            tx.complete_build(&spec.nvr())
        }
        Step::Merge(s, n) => {
            let side = side(tx, s)?;
            let nvr = listed(tx, &side, n)?;
            tx.tag_build("f99", &nvr, false)
        }
        Step::NoSide(s) => {
            let side = side(tx, s)?;
            tx.remove_side_tag(&side)
        }
        Step::Look | Step::Restart => Ok(()),
    }
}

/// Checks whether a tag inherits from another at any distance, whatever its links filter. Koji has
/// no cycles.
pub(super) fn leads_to(w: &World, from: &str, to: &str) -> bool {
    let (Ok(from), Ok(to)) = (w.tag(from, None), w.tag(to, None)) else { return false };
    let mut open = vec![from];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(tag) = open.pop() {
        if tag == to {
            return true;
        }
        if seen.insert(tag) {
            open.extend(w.parents(tag, None).into_iter().map(|i| i.parent));
        }
    }
    false
}

/// Returns the messages of a step that is rolled back.
pub(super) fn phantoms(hub: &Hub, step: Step) -> Vec<BusMessage> {
    // Its changes of files cannot be rolled back.
    if matches!(
        step,
        Step::Repo(_) | Step::BeginRepo(_) | Step::FinishRepo(_) | Step::FailRepo(_) | Step::DeleteRepo(_)
    ) {
        return Vec::new();
    }
    let mut sent = Vec::new();
    let undone = hub.try_as("kojiadmin", |tx| {
        apply(tx, step).ok();
        sent = std::mem::take(&mut tx.messages);
        Err::<(), _>(nothing())
    });
    assert!(undone.is_err());
    sent
}
