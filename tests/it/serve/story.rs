//! A year in the life of the service, in a minute: `koschei serve` as a process, with a hub over
//! TLS, a broker, and a few hundred packages.
//!
//! The story begins with an empty log. In each chapter something happens to the distribution, or
//! something around it fails. After each chapter and one reconciliation, the log's facts digest
//! equals that of the hub's tables, and there were never more rebuilds at once than allowed.

mod teller;

use std::time::Duration;

use koschei::decide::Hold;
use koschei::event::{Envelope, Event, Source};
use koschei::fold::State;
use koschei::fold::hub_facts::digest_of;
use koschei::log::EventLog;
use koschei::model::{Outcome, PackageState, Seq};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{Connection, Executor, SqliteConnection};

use crate::hub::{Inherit, Lie, Outcome as Ends, Tx, V, World};
use crate::live::PATIENCE;
use crate::serve::announced::{all_are_sent, hears_what_the_log_says};
use crate::serve::bus::{Carrier, Counts, Mood};
use crate::serve::facts::{of_tables, primary};
use teller::{APPS, LIBS, MAX, Story, all, app, app_name, apps_of, is_scratch, most_at_once};

// ---- the story ----

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_with_a_hub() {
    a_year(Story::begin(false).await).await;
}

/// The same year, in which the service has no login, and another program carries out its commands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_with_other_executors() {
    a_year(Story::begin(true).await).await;
}

async fn a_year(mut story: Story) {
    let story = &mut story;
    bootstrap(story).await;
    failing_and_back(story).await;
    unresolved_and_back(story).await;
    real_builds(story).await;
    a_bad_bus(story).await;
    the_hub_goes_away(story).await;
    the_hub_is_offline(story).await;
    the_database_is_locked(story).await;
    the_broker_goes_away(story).await;
    killed_in_the_middle(story).await;
    repositories_go(story).await;
    a_target_moves(story).await;
    a_target_goes(story).await;
    one_fact_less(story).await;
    all_are_sent(&story.live).await;
    story.live.stop();
    drop(story.builders.take());
    story.counts.push(story.carrier.take().unwrap().stop().await);
    println!("the bus: {:?}", story.counts);
    // Neither a restart nor anything else made the service try a bound rebuild before its time, or
    // log the refusal again.
    let ours = story.hub().dump().tasks;
    let bound = ours.iter().filter(|t| t.repo.is_some()).map(|t| t.id).max();
    assert!(bound < ours.iter().filter(|t| t.repo.is_none()).map(|t| t.id).nth(MAX), "{bound:?} was bound long after");
    assert_eq!(story.live.said().matches("does not allow rebuilds bound to repositories").count(), 1);
    let total = |of: fn(&Counts) -> usize| story.counts.iter().map(of).sum::<usize>();
    // Subscribers heard every change of the year, in order.
    let (changes, _, twice) = hears_what_the_log_says(&story.rabbit, "heard", &story.live).await;
    println!(
        "{} messages about {} subjects; {twice} came twice",
        changes.values().map(Vec::len).sum::<usize>(),
        changes.len()
    );
    assert!(total(|c| c.lost) > 0 && total(|c| c.doubled) > 0 && total(|c| c.delayed) > 0 && total(|c| c.invented) > 0);
}

/// From an empty log until every package was rebuilt once, without any action.
async fn bootstrap(story: &mut Story) {
    // No builder works yet: exactly as many tasks are made as allowed, however long one waits.
    let limit = u32::try_from(MAX).unwrap();
    story
        .until("as many are to be rebuilt as may be", |s| {
            s.running() == limit && s.rebuilds.values().all(|r| r.task.is_some())
        })
        .await;
    let begun = story.follower.state.last_tick;
    story.until("time has passed", |s| s.last_tick > begun.map(|t| t.plus_secs(2))).await;
    assert_eq!(story.hub().see(|w| most_at_once(w, None)), MAX);
    story.builders = Some(story.hub().start_builders(Duration::from_millis(10)));
    story.rests("bootstrap").await;
    let state = &story.follower.state;
    assert_eq!(state.collections["f99"].packages.len(), 3 + LIBS + APPS);
    for (package, p) in &state.collections["f99"].packages {
        let expected = if package == "lone" { PackageState::Unresolved } else { PackageState::Ok };
        assert_eq!(p.state(true), expected, "{package}: {}", story.why("f99", package));
    }
    let tasks = story.hub().dump().tasks;
    assert!(tasks.iter().all(|t| t.scratch && t.owner == "koschei"));
    // The bound tasks were under way when the first one was refused. After that none is bound, each
    // package is rebuilt once without a binding, and it is logged once.
    let (bound, unbound): (Vec<_>, Vec<_>) = tasks.iter().partition(|t| t.repo.is_some());
    assert!((1..=MAX).contains(&bound.len()), "{} bound", bound.len());
    assert_eq!(unbound.len(), story.follower.state.collections.values().map(|c| c.packages.len()).sum::<usize>() - 2);
    assert_eq!(
        story.live.said().matches("does not allow rebuilds bound to repositories").count(),
        1,
        "{}",
        story.live.said()
    );
    let why = story.why("f99", "app007");
    assert!(why.contains("build_from_repo_id"), "{why}");
}

/// A build fails, and builds again when its library changes.
async fn failing_and_back(story: &mut Story) {
    story.hub().rule("app007", None, Ends::FailBuild);
    story.hub().rule(
        "app017",
        Some("aarch64"),
        Ends::Fault(1, "Traceback: OSError: [Errno 28] No space left on device".to_owned()),
    );
    story.update(7);
    story.until("app007 fails", |s| s.package("f99", "app007").unwrap().state(true) == PackageState::Failing).await;
    story.rests("failing").await;
    assert_eq!(story.is("f99", "app017"), Some(PackageState::Ok), "a full disk is no fault of the package");
    assert_eq!(story.outcomes("f99", "app017").await.last(), Some(&Outcome::InfrastructureFault));
    assert_eq!(story.is("f99", "app027"), Some(PackageState::Ok));
    assert!(story.why("f99", "app007").contains("failing"), "{}", story.why("f99", "app007"));
    story.hub().rule("app007", None, Ends::Ok);
    story.hub().rule("app017", None, Ends::Ok);
    story.update(7);
    story.until("app007 builds", |s| s.package("f99", "app007").unwrap().state(true) == PackageState::Ok).await;
    story.rests("and back").await;
}

/// A library disappears, and comes back.
async fn unresolved_and_back(story: &mut Story) {
    let current = story.versions.get(&3).copied().unwrap_or(1);
    assert_eq!(current, 1);
    story.hub().change(|tx| tx.untag_build("f99", "lib3-1-1.fc99"));
    story
        .until("nobody who needs it resolves", |s| {
            apps_of(3).all(|a| s.package("f99", &a).unwrap().state(true) == PackageState::Unresolved)
        })
        .await;
    story.rests("unresolved").await;
    assert_eq!(story.is("f98", "app003"), Some(PackageState::Ok), "elsewhere it is still there");
    let why = story.why("f99", "app003");
    assert!(why.contains("lib3-devel"), "{why}");
    let before = story.hub().dump().tasks.len();
    story.hub().change(|tx| tx.tag_build("f99", "lib3-1-1.fc99", false));
    story
        .until("they resolve again", |s| {
            apps_of(3).all(|a| s.package("f99", &a).unwrap().state(true) == PackageState::Ok)
        })
        .await;
    story.rests("and resolved").await;
    let after = story.hub().dump().tasks.len();
    assert!(after - before <= 2, "nothing has changed for them, so they are not rebuilt: {}", after - before);
}

/// Real builds: one that is tagged at once, one from a side tag long after, an older one again, one
/// that fails.
async fn real_builds(story: &mut Story) {
    story.hub().change_as("alice", |tx| {
        let side = tx.create_side_tag("f99-build")?;
        tx.start_build("alice", &side, &app(21, 2))?;
        tx.complete_build("app021-2-1.fc99")?;
        tx.start_build("alice", "f99", &app(20, 2))?;
        tx.complete_build("app020-2-1.fc99")?;
        tx.start_build("alice", "f99", &app(22, 2))?;
        tx.fail_build("app022-2-1.fc99", 1005, "error building package (arch x86_64), mock exited with status 1")
    });
    let latest =
        |s: &State, n: usize| s.package("f99", &app_name(n)).unwrap().latest.as_ref().unwrap().source.to_string();
    story.until("the real build is seen", |s| latest(s, 20) == "2-1.fc99").await;
    story.rests("a real build").await;
    assert_eq!(latest(&story.follower.state, 21), "1-1.fc99", "it is in a side tag only");
    story.hub().change(|tx| {
        tx.tag_build("f99", "app021-2-1.fc99", false)?;
        // With force, the earlier build is the latest again.
        tx.tag_build("f99", "app020-1-1.fc99", true)
    });
    story.until("both are seen", |s| latest(s, 21) == "2-1.fc99" && latest(s, 20) == "1-1.fc99").await;
    story.rests("tagged late").await;
}

/// A bus that loses a third of the messages, and duplicates, delays and invents some, while much
/// happens.
async fn a_bad_bus(story: &mut Story) {
    story.bus(Mood::Bad);
    let mut rng = StdRng::seed_from_u64(5);
    for round in 0..3 {
        story.update(rng.random_range(0..LIBS));
        for _ in 0..25 {
            let n = rng.random_range(0..APPS);
            let (name, nvr, which) = (app_name(n), app(n, 1).nvr(), rng.random_range(0..6));
            let something = |tx: &mut Tx<'_>| match which {
                0 => tx.untag_build("f99", &nvr),
                1 => tx.tag_build("f99", &nvr, true),
                2 => tx.package_list_block("f99", &name),
                3 => tx.package_list_unblock("f99", &name),
                4 => tx.package_list_remove("f99", &name),
                _ => tx.package_list_add("f99", &name, "bob"),
            };
            story.hub().try_change(something).ok();
        }
        story.rests(&format!("a bad bus, {round}")).await;
    }
    story.bus(Mood::Silent);
    story.hub().change(|tx| {
        tx.package_list_block("f99", "app100")?;
        tx.package_list_block("f98", "app001")?;
        tx.untag_build("f99", "app101-1-1.fc99").ok();
        tx.package_list_add("f99", "app101", "alice").ok();
        tx.tag_build("f99", "app101-1-1.fc99", true)
    });
    story.update(1);
    story.rests("a silent bus").await;
    assert_eq!(story.is("f99", "app100"), Some(PackageState::Blocked));
    story.bus(Mood::Fair);
}

/// The hub is stopped during calls and running builds. Much happens before it comes back.
async fn the_hub_goes_away(story: &mut Story) {
    story.has_rebuilds_running(2).await;
    story.hub().stop();
    story.hub().change(|tx| {
        tx.package_list_unblock("f99", "app100")?;
        tx.tag_build("f99", "app102-1-1.fc99", true)
    });
    story.update(4);
    story.hub().restart();
    story.builders = Some(story.hub().start_builders(Duration::from_millis(10)));
    story.rests("the hub was away").await;
    assert_eq!(story.is("f99", "app100"), Some(PackageState::Ok));
}

/// Maintenance, a database that dies during calls, HTTP 500, and answers cut off.
async fn the_hub_is_offline(story: &mut Story) {
    story.hub().misbehave_after(3, "build", Lie::DatabaseDies, 1);
    story.update(5);
    let hub = story.hub().clone();
    tokio::task::spawn_blocking(move || {
        // In the middle of a submission.
        let down = || hub.core.lock().settings.database_down;
        while !down() {
            std::thread::sleep(Duration::from_millis(5));
        }
    })
    .await
    .unwrap();
    story.hub().change(|tx| tx.package_list_block("f99", "app105"));
    story.hub().settings(|s| {
        s.database_down = false;
        s.offline = Some("server is offline".to_owned());
    });
    story.hub().change(|tx| tx.tag_build("f99", "app106-1-1.fc99", true));
    story.hub().settings(|s| s.offline = None);
    story.hub().misbehave("build", Lie::Commit500, 1);
    story.hub().misbehave_after(2, "build", Lie::CutAfter, 1);
    story.hub().misbehave_after(4, "build", Lie::Rollback500, 1);
    story.hub().misbehave("multiCall", Lie::Status(500), 2);
    story.hub().misbehave_after(3, "multiCall", Lie::Truncate(300), 1);
    story.update(6);
    story.rests("the hub was offline").await;
    story.hub().behave();
    let ours = story.hub().dump().tasks.into_iter().filter(|t| t.scratch);
    let mut decisions: Vec<String> = ours.map(|t| t.metadata["koschei"]["decision"].to_string()).collect();
    let all = decisions.len();
    decisions.sort_unstable();
    decisions.dedup();
    assert_eq!(decisions.len(), all, "a decision became two tasks");
}

/// Somebody locks the database for longer than the lock timeout.
async fn the_database_is_locked(story: &mut Story) {
    let mut other = SqliteConnection::connect(&story.live.db).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    story.hub().change(|tx| tx.package_list_unblock("f99", "app105"));
    story.update(8);
    story.live.says("the database does not answer").await;
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    story.rests("the database was locked").await;
    assert_eq!(story.is("f99", "app105"), Some(PackageState::Ok));
}

/// The broker is stopped, and killed. The hub drops what it cannot publish.
async fn the_broker_goes_away(story: &mut Story) {
    for kill in [false, true] {
        let counts = story.carrier.take().unwrap().stop().await;
        story.counts.push(counts);
        story.hub().broker(false);
        if kill {
            story.rabbit.kill()
        } else {
            story.rabbit.stop()
        }
        story.hub().change(|tx| tx.package_list_block("f99", if kill { "app107" } else { "app108" }));
        story.update(9);
        // Polls find it.
        story.rests("without a broker").await;
        story.rabbit.restart().await;
        let dropped = story.hub().broker(true);
        assert!(!dropped.is_empty());
        story.carrier = Some(Carrier::start(story.live.hub.clone(), &story.rabbit).await);
        story.hub().change(|tx| tx.package_list_block("f99", if kill { "app117" } else { "app118" }));
        story.rests("with a broker again").await;
    }
    // Messages of the bus arrive again.
    let log = story.live.log().await;
    let before = log.counts().await.unwrap().inbox_total;
    story.hub().change(|tx| tx.package_list_block("f99", "app109"));
    let came = tokio::time::timeout(PATIENCE, async {
        while log.counts().await.unwrap().inbox_total == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(came.await.is_ok(), "no message comes any more");
    log.close().await;
}

/// Killed while rebuilds are decided and running, and started again.
async fn killed_in_the_middle(story: &mut Story) {
    story.has_rebuilds_running(0).await;
    story.live.kill();
    story.hub().change(|tx| tx.package_list_block("f98", "app002"));
    story.update(1);
    story.builders = Some(story.hub().start_builders(Duration::from_millis(10)));
    story.live.start();
    let executors = story.outside.iter().flat_map(|(_, executors)| executors);
    executors.for_each(|executor| executor.kill());
    story.rests("killed").await;
    assert_eq!(story.is("f98", "app002"), Some(PackageState::Blocked));
}

/// Repositories expire and are deleted. One collection has none left, the other goes on.
async fn repositories_go(story: &mut Story) {
    let newest = |w: &World, tag: &str| w.newest_repo(w.tag(tag, None).unwrap()).unwrap();
    let expired = story.hub().see(|w| newest(w, "f99-build"));
    story.hub().change(|tx| tx.expire_repo(expired));
    story.rests("a repository expired").await;
    // Nobody makes another one for f98.
    story.hub().change(|tx| {
        tx.edit_tag_extra("f98-build", "repo.auto", None)?;
        let tag = tx.w.tag("f98-build", None)?;
        let all: Vec<i64> = tx.w.repos.iter().filter(|r| r.tag == tag && r.state < 3).map(|r| r.id).collect();
        all.into_iter().try_for_each(|id| tx.delete_repo(id))
    });
    story.update(2);
    story
        .until("f99 is resolved again", |s| {
            let c = &s.collections["f99"];
            c.arches.values().all(|a| a.repo_id.is_some_and(|r| r.0 > expired)) && s.running() == 0
        })
        .await;
    story.rests("all repositories of a tag deleted").await;
    let state = &story.follower.state;
    assert!(
        state.hubs[&primary()]
            .repos
            .iter()
            .filter(|(_, r)| r.tag == "f98-build")
            .all(|(_, r)| r.state == koschei::model::koji::RepoState::Deleted)
    );
    assert_eq!(story.is("f98", "app003"), Some(PackageState::Ok), "what was found out stands");
    story.hub().change(|tx| tx.edit_tag_extra("f98-build", "repo.auto", Some(V::from(true))));
    story
        .until("f98 is resolved again", |s| {
            s.collections["f98"].arches.values().any(|a| a.repo_id.is_some_and(|r| r.0 > expired + 1))
        })
        .await;
    story.rests("and another one").await;
}

/// A target's tags change: its collection follows.
async fn a_target_moves(story: &mut Story) {
    story.hub().change(|tx| {
        tx.create_tag("f97", "")?;
        tx.create_tag("f97-build", "x86_64")?;
        tx.edit_tag_extra("f97-build", "repo.auto", Some(V::from(true)))?;
        tx.add_inheritance("f97-build", "f97", Inherit::default())?;
        tx.add_inheritance("f97", "f98", Inherit::default())?;
        tx.add_group_packages("f97-build", "build", &["bash", "make"])?;
        tx.edit_target("f98", "f97-build", "f97")
    });
    story
        .until("its collection has moved", |s| {
            let c = &s.collections["f98"];
            c.settings.build_tag == "f97-build" && c.arches.values().any(|a| a.repo_id.is_some())
        })
        .await;
    story.update(4);
    story.rests("a target moved").await;
    assert_eq!(story.is("f98", "app004"), Some(PackageState::Ok));
    let to = story.hub().see(|w| {
        let last = w.tasks.iter().rfind(|t| is_scratch(t) && t.request[1].as_str() == Some("f98")).unwrap();
        let step = w.tasks.iter().find(|t| t.parent == Some(last.id) && t.method == "buildArch").unwrap();
        w.repo(step.request[4].get("repo_id").and_then(V::as_int).unwrap())
            .map(|r| w.tag_name(r.tag).unwrap().to_owned())
    });
    assert_eq!(to.as_deref(), Some("f97-build"), "what was resolved there is built there");
}

/// A target is deleted: its collection stops and says why. Nothing else does, not even after a
/// restart.
async fn a_target_goes(story: &mut Story) {
    story.hub().change(|tx| tx.delete_target("f98"));
    story.until("its collection has stopped", |s| s.collections["f98"].target_gone).await;
    let hub = story.hub().clone();
    let tasks = |target: &'static str| {
        let of = move |t: &&crate::hub::rows::Task| is_scratch(t) && t.request[1].as_str() == Some(target);
        hub.see(|w| w.tasks.iter().filter(of).count())
    };
    for restart in [false, true] {
        if restart {
            story.live.stop();
            story.live.start();
        }
        let before = (tasks("f98"), tasks("f99"));
        story.update(5);
        story.until("f99 goes on", |_| tasks("f99") > before.1).await;
        story.rests("a target went").await;
        assert_eq!(tasks("f98"), before.0, "nothing is submitted to a target that is not there");
        let why = story.why("f98", "app005");
        assert!(why.contains(&Hold::TargetGone.to_string()), "{why}");
    }
    let before = tasks("f98");
    story.hub().change(|tx| tx.create_target("f98", "f97-build", "f97").map(|_| ()));
    story.until("and it goes on", |s| !s.collections["f98"].target_gone).await;
    story.rests("a target came back").await;
    assert!(tasks("f98") > before, "what was due meanwhile is rebuilt");
}

/// Without any one of the facts that corrected what the bus had lost, the digest differs.
async fn one_fact_less(story: &mut Story) {
    let log = story.live.log().await;
    let events = all(&log).await;
    log.close().await;
    let fold = |without: Option<Seq>| {
        let mut state = State::default();
        for e in events.iter().filter(|e| Some(e.seq) != without) {
            let e = Envelope { seq: Seq::after(state.seq), ..e.clone() };
            state.apply(&e);
        }
        state
    };
    let lines = |state: &State| {
        let (facts, watched) = state.hub_facts(&primary());
        facts.lines("primary", &watched)
    };
    let whole = fold(None);
    let theirs = story.hub().see(of_tables).lines("primary", &whole.hub_facts(&primary()).1);
    assert_eq!(whole.facts_digest(), digest_of(&theirs));
    // Facts that no later fact replaced: the last one of each kind.
    let last_of = |fits: &dyn Fn(&Event) -> bool| {
        let corrects = |e: &&Envelope| e.source == Source::Reconciliation && fits(&e.event);
        events.iter().rfind(corrects).unwrap_or_else(|| panic!("nothing of the kind was corrected"))
    };
    let blocked = |e: &Event| matches!(e, Event::PackageListChanged(p) if p.package == "app108" && p.tag == "f99");
    let tagged = |e: &Event| matches!(e, Event::BuildTagged(t) if t.name == "lib1");
    let observed = |e: &Event| matches!(e, Event::TagObserved(t) if t.tag == "f97-build" && t.inheritance.is_some());
    let target = |e: &Event| matches!(e, Event::TargetObserved(_));
    let facts = [
        ("app108", last_of(&blocked)),
        ("lib1", last_of(&tagged)),
        ("f97-build", last_of(&observed)),
        ("target", last_of(&target)),
    ];
    for (what, fact) in facts {
        let state = fold(Some(fact.seq));
        assert_ne!(state.facts_digest(), digest_of(&theirs), "without {what} ({}) it should not be the same", fact.seq);
        assert_ne!(lines(&state), theirs);
    }
}
