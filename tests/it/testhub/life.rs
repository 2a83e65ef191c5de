//! The test hub over time: builds, repositories and tags, and their bus messages.

use koschei::koji::xmlrpc::Value;
use koschei::repodata::srpm::SourceHeader;
use koschei::repodata::{Limits, RepoDir};
use rstest::rstest;

use crate::hub::value::row;
use crate::hub::{BusMessage, Caller, Hub, NewBuild, NewWorld, Outcome, Settings, V};

fn hub() -> (Hub, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(Settings { may_use_repo_id: true, ..Settings::new(dir.path()) });
    let both = &["x86_64", "aarch64"];
    let builds = [
        NewBuild::new("bash-5.2-1.fc99").binary_with("bash", both, &["/bin/sh"], &[]),
        NewBuild::new("make-4.4-1.fc99").epoch(1).binary("make", both, &["bash"]),
        NewBuild::new("libfoo-1-1.fc99").binary_with("libfoo", both, &["libfoo.so.1()(64bit)"], &[]).binary(
            "libfoo-devel",
            both,
            &["libfoo = 1-1.fc99"],
        ),
        NewBuild::new("app-1-1.fc99").build_requires(&["libfoo-devel >= 1", "make"]).binary(
            "app",
            both,
            &["libfoo.so.1()(64bit)"],
        ),
        NewBuild::new("doc-1-1.fc99").build_noarch().build_requires(&["make"]).binary("doc", &["noarch"], &[]),
    ];
    NewWorld::on(&hub).release("f99", "x86_64 aarch64", &["bash", "make"]).builds("f99", builds).ready([]);
    (hub, dir)
}

fn topics(messages: &[BusMessage]) -> Vec<String> {
    let state = |m: &BusMessage| {
        m.body.get("new").map(|n| format!(" {}", n.as_str().map_or_else(|| n.to_string(), str::to_owned)))
    };
    messages
        .iter()
        .map(|m| format!("{}{}", m.short_topic().trim_start_matches("buildsys."), state(m).unwrap_or_default()))
        .collect()
}

fn submit(koschei: &mut Caller, nvr: &str, repo: i64) -> i64 {
    let opts = row! {
        "scratch" => true, "repo_id" => repo,
        "custom_user_metadata" => row! { "koschei" => row! { "decision" => "r7" } }
    };
    koschei.call("build", &[NewBuild::new(nvr).source().into(), "f99".into(), opts]).unwrap().as_int().unwrap()
}

#[test]
fn a_repository_can_be_read() {
    let (hub, dir) = hub();
    hub.take_messages();
    let id = hub.change(|tx| tx.new_repo("f99-build"));
    assert_eq!(topics(&hub.take_messages()), ["repo.init", "repo.done"]);
    let repo = dir.path().join(format!("repos/f99-build/{id}"));
    assert!(dir.path().join("repos/f99-build/latest/repo.json").is_file());
    for arch in ["x86_64", "aarch64"] {
        let content = RepoDir::open(repo.join(arch)).unwrap().load([]).unwrap();
        let names: Vec<&str> = content.packages().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["app", "bash", "doc", "libfoo", "libfoo-devel", "make"]);
        assert!(repo.join(arch).join("toplink").is_symlink());
    }
    let info = Caller::new(&hub).same("repoInfo", &[id.into()]).unwrap();
    assert_eq!(info.get("state"), Some(&Value::Int(1)));
    let file = koschei::repodata::koji::RepoInfo::parse(
        std::fs::File::open(repo.join("repo.json")).unwrap(),
        "",
        &Limits::default(),
    )
    .unwrap();
    assert_eq!(Some(file.event_id), info.get("create_event").and_then(Value::as_int));
}

#[test]
fn source_packages_over_http() {
    let (hub, _dir) = hub();
    let address = Caller::new(&hub).address;
    let path = "/kojifiles/packages/app/1/1.fc99/src/app-1-1.fc99.src.rpm";
    let whole = crate::hub::caller::http(&address, &format!("GET {path} HTTP/1.1\r\n"), b"").unwrap();
    let header = SourceHeader::read(whole.body.as_slice(), "app").unwrap();
    assert_eq!(header.nvr().to_string(), "app-1-1.fc99");
    assert_eq!(header.requires, ["libfoo-devel >= 1", "make"]);
    let part =
        crate::hub::caller::http(&address, &format!("GET {path} HTTP/1.1\r\nRange: bytes=96-99\r\n"), b"").unwrap();
    assert_eq!((part.status, part.body.as_slice()), (206, &whole.body[96..100]));
    let missing =
        crate::hub::caller::http(&address, "GET /kojifiles/packages/a/1/1/src/a-1-1.src.rpm HTTP/1.1\r\n", b"")
            .unwrap();
    assert_eq!((missing.status, hub.file_requests().len()), (404, 3));
}

/// The whole life of a scratch build, as recorded: three messages but none for its creation, and
/// children with results and buildroots.
#[test]
fn a_scratch_build() {
    let (hub, _dir) = hub();
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.take_messages();
    let mut koschei = Caller::login(&hub, "koschei");
    let id = submit(&mut koschei, "app-1-1.fc99", repo);
    assert_eq!(hub.take_messages(), []);
    hub.work_all();
    assert_eq!(
        topics(&hub.take_messages()),
        ["task.state.change ASSIGNED", "task.state.change OPEN", "task.state.change CLOSED"]
    );
    assert_eq!(koschei.call("getTaskResult", &[id.into()]).unwrap(), Value::Nil);
    let children = koschei.call("getTaskChildren", &[id.into(), true.into()]).unwrap();
    let steps: Vec<(String, i64)> = children
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c.get("label").unwrap().as_str().unwrap().to_owned(), c.get("id").unwrap().as_int().unwrap()))
        .collect();
    assert_eq!(steps.iter().map(|s| s.0.as_str()).collect::<Vec<_>>(), ["srpm", "x86_64", "aarch64"]);
    let result = koschei.call("getTaskResult", &[steps[1].1.into()]).unwrap();
    assert_eq!(
        result.get("rpms").unwrap().as_array().unwrap()[0].as_str().unwrap(),
        format!("tasks/{0}/{0}/app-1-1.fc99.x86_64.rpm", steps[1].1)
    );
    let ask = row! {
        "componentBuildrootID" => V::Int(result.get("brootid").unwrap().as_int().unwrap()), "__starstar" => true
    };
    let contents = koschei.call("listRPMs", &[ask]).unwrap();
    let names: Vec<&str> =
        contents.as_array().unwrap().iter().map(|r| r.get("name").unwrap().as_str().unwrap()).collect();
    assert_eq!(names, ["bash", "make", "libfoo-devel"]);
    assert_eq!(hub.tasks_with("\"r7\""), [id]);
    // A noarch package has one step.
    let id = submit(&mut koschei, "doc-1-1.fc99", repo);
    hub.work_all();
    let children = koschei.call("getTaskChildren", &[id.into()]).unwrap();
    assert_eq!(children.as_array().unwrap()[1].get("label").unwrap().as_str(), Some("noarch"));
}

#[rstest]
#[case::build(
    Outcome::FailBuild,
    1005,
    "error building package (arch x86_64), mock exited with status 1; see build.log for more information"
)]
#[case::deps(
    Outcome::FailDeps,
    1005,
    "error building package (arch x86_64), mock exited with status 30; see root.log for more information"
)]
#[case::init(
    Outcome::FailInit,
    1012,
    "could not init mock buildroot, mock exited with status 30; see root.log for more information"
)]
#[case::srpm(
    Outcome::FailSrpm,
    1005,
    "error building srpm, mock exited with status 1; see build.log for more information"
)]
#[case::other(Outcome::Fault(1, "Traceback".to_owned()), 1, "Traceback")]
fn a_build_that_fails(#[case] outcome: Outcome, #[case] code: i64, #[case] text: &str) {
    let (hub, _dir) = hub();
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.rule("app", None, outcome);
    let mut koschei = Caller::login(&hub, "koschei");
    let id = submit(&mut koschei, "app-1-1.fc99", repo);
    hub.work_all();
    let fault = koschei.call("getTaskResult", &[id.into()]).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (code, text));
    assert_eq!(hub.dump().tasks[0].state, 5);
}

#[test]
fn binding_to_repositories() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    let [expired, deleted, ready] = [0; 3].map(|_| hub.change(|tx| tx.new_repo("f99-build")));
    let other = hub.change(|tx| {
        tx.create_tag("f98-build", "x86_64")?;
        tx.new_repo("f98-build")
    });
    hub.change(|tx| tx.expire_repo(expired));
    hub.change(|tx| tx.delete_repo(deleted));
    let repos = [ready, expired, deleted, other, 999];
    let ids = repos.map(|repo| submit(&mut koschei, "app-1-1.fc99", repo));
    hub.work_all();
    let results = ids.map(|id| koschei.call("getTaskResult", &[id.into()]).map_err(|f| (f.code, f.message)));
    assert_eq!(results[..2], [Ok(Value::Nil), Ok(Value::Nil)]);
    assert_eq!(results[2], Err((1005, format!("Bad repo: {deleted} (DELETED)"))));
    assert_eq!(results[3], Err((1005, "Repo/Target mismatch: f98-build/f99-build".to_owned())));
    assert_eq!(results[4], Err((1005, "No such repo: 999".to_owned())));
}

#[test]
fn cancelling_and_again() {
    let (hub, _dir) = hub();
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.rule("app", Some("aarch64"), Outcome::Hang);
    let mut koschei = Caller::login(&hub, "koschei");
    let id = submit(&mut koschei, "app-1-1.fc99", repo);
    hub.work_all();
    assert_eq!(hub.dump().tasks[0].state, 1, "it hangs");
    hub.take_messages();
    assert_eq!(Caller::login(&hub, "alice").call("cancelTask", &[id.into()]).unwrap_err().code, 1004);
    koschei.call("cancelTask", &[id.into()]).unwrap();
    let messages = hub.take_messages();
    assert_eq!(topics(&messages), ["task.state.change CANCELED"]);
    // The message was made before the children were cancelled.
    let states: Vec<i64> =
        messages[0].body["info"]["children"].as_array().unwrap().iter().map(|c| c["state"].as_i64().unwrap()).collect();
    assert_eq!(states, [1, 2, 2], "aarch64, noarch, x86_64");
    let mut again = Caller::login(&hub, "kojiadmin");
    let second = again.call("resubmitTask", &[id.into()]).unwrap().as_int().unwrap();
    let tasks = hub.dump().tasks;
    assert_eq!((tasks[1].id, tasks[1].owner.as_str()), (second, "kojiadmin"));
    assert_eq!(tasks[1].metadata, tasks[0].metadata);
    assert_eq!(koschei.call("resubmitTask", &[second.into()]).unwrap_err().code, 1000);
}

/// What sends a message and what does not (koji.md, §1.4).
#[test]
fn messages_and_silence() {
    let (hub, _dir) = hub();
    hub.take_messages();
    let said = |hub: &Hub| topics(&hub.take_messages());
    hub.change(|tx| tx.import_build(&NewBuild::new("app-2-1.fc99").binary("app", &["x86_64"], &[])));
    assert_eq!(said(&hub), ["build.state.change 1"]);
    hub.change(|tx| tx.tag_build("f99", "app-2-1.fc99", false));
    assert_eq!(said(&hub), ["tag"]);
    // Tagging again with force: an old build becomes the latest, without an untag message.
    hub.change(|tx| tx.tag_build("f99", "app-1-1.fc99", true));
    assert_eq!(said(&hub), ["tag"]);
    let latest = Caller::new(&hub).same("getLatestBuilds", &["f99".into(), V::Nil, "app".into()]).unwrap();
    assert_eq!(latest.as_array().unwrap()[0].get("nvr").unwrap().as_str(), Some("app-1-1.fc99"));
    hub.change(|tx| {
        tx.create_tag("f99-updates", "")?;
        tx.package_list_add("f99-updates", "app", "alice")?;
        tx.move_build("f99", "f99-updates", "app-2-1.fc99")
    });
    assert_eq!(said(&hub), ["package.list.change", "untag", "tag"]);
    hub.change(|tx| tx.start_build("bob", "f99", &NewBuild::new("app-3-1.fc99").binary("app", &["x86_64"], &[])));
    assert_eq!(said(&hub), ["build.state.change 0"]);
    hub.change(|tx| tx.complete_build("app-3-1.fc99"));
    assert_eq!(said(&hub), ["build.state.change 1", "tag"]);
    let first = hub.change(|tx| tx.start_build("bob", "f99", &NewBuild::new("app-4-1.fc99")));
    hub.change(|tx| tx.fail_build("app-4-1.fc99", 1005, "no"));
    let second = hub.change(|tx| tx.start_build("bob", "f99", &NewBuild::new("app-4-1.fc99")));
    hub.change(|tx| tx.cancel_build("app-4-1.fc99"));
    let states = ["build.state.change 0", "build.state.change 3", "build.state.change 0", "build.state.change 4"];
    assert_eq!((first, said(&hub)), (second, states.map(str::to_owned).to_vec()), "revived under the same number");
    hub.change(|tx| tx.package_list_block("f99", "doc"));
    hub.change(|tx| tx.package_list_unblock("f99", "doc"));
    hub.change(|tx| tx.package_list_remove("f99", "doc"));
    assert_eq!(said(&hub), ["package.list.change"; 3]);
    // These send no message.
    let repo = hub.change(|tx| tx.new_repo("f99-build"));
    hub.take_messages();
    let before = hub.see(|w| w.last_change(w.tag_named("f99-build").unwrap(), None));
    hub.change(|tx| {
        tx.add_group_packages("f99-build", "build", &["sed"])?;
        tx.edit_tag_arches("f99-build", "x86_64")?;
        tx.edit_tag_extra("f99-build", "mock.package_manager", Some("dnf5".into()))?;
        tx.edit_target("f99", "f99-build", "f99-updates")?;
        tx.expire_repo(repo)?;
        tx.delete_repo(repo)?;
        let side = tx.create_side_tag("f99-build")?;
        tx.package_list_add(&side, "app", "alice")
    });
    assert_eq!(said(&hub), ["package.list.change"]);
    assert!(hub.see(|w| w.last_change(w.tag_named("f99-build").unwrap(), None)) > before);
    let side = hub.see(|w| w.tags.last().unwrap().name.clone());
    hub.change(|tx| tx.tag_build(&side, "app-2-1.fc99", false));
    hub.take_messages();
    hub.change(|tx| tx.remove_side_tag(&side));
    assert_eq!(said(&hub), Vec::<String>::new(), "builds vanish without an untag message");
    assert!(hub.see(|w| w.tag(&side, None)).is_err());
}

/// History: what held at an event, and what changed after it.
#[test]
fn as_of_an_event() {
    let (hub, _dir) = hub();
    let event = hub.dump().last_event;
    hub.change(|tx| {
        tx.untag_build("f99", "bash-5.2-1.fc99")?;
        tx.edit_tag_arches("f99-build", "x86_64")?;
        tx.edit_target("f99", "f99", "f99")
    });
    let nobody = Caller::new(&hub);
    let at = |name: &str, value: V| row! { name => value, "__starstar" => true };
    let count = |args: &[V]| nobody.same("listTagged", args).unwrap().as_array().unwrap().len();
    assert_eq!((count(&["f99".into()]), count(&["f99".into(), event.into()])), (4, 5));
    let arches = |args: &[V]| nobody.same("getTag", args).unwrap().get("arches").unwrap().as_str().unwrap().to_owned();
    assert_eq!(
        (arches(&["f99-build".into()]), arches(&["f99-build".into(), at("event", event.into())])),
        ("x86_64".to_owned(), "x86_64 aarch64".to_owned())
    );
    let target = |args: &[V]| {
        nobody.same("getBuildTarget", args).unwrap().get("build_tag_name").unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(
        (target(&["f99".into()]), target(&["f99".into(), event.into()])),
        ("f99".to_owned(), "f99-build".to_owned())
    );
    let history = row! {
        "tag" => "f99", "afterEvent" => event, "tables" => vec![V::from("tag_listing"), "tag_config".into()],
        "__starstar" => true
    };
    let history = nobody.same("queryHistory", &[history]).unwrap();
    let rows = history.get("tag_listing").unwrap().as_array().unwrap();
    assert_eq!((rows.len(), rows[0].get("revoke_event").unwrap().as_int()), (1, Some(event + 1)));
    assert_eq!(history.get("tag_config").unwrap().as_array().unwrap().len(), 0);
    let changed =
        |event: i64| nobody.same("tagChangedSinceEvent", &[event.into(), vec![V::from("f99")].into()]).unwrap();
    assert_eq!((changed(event), changed(event + 3)), (Value::Bool(true), Value::Bool(false)));
}

/// A repository on request, with kojira and builders one step at a time.
#[test]
fn a_requested_repository() {
    let (hub, _dir) = hub();
    let mut koschei = Caller::login(&hub, "koschei");
    let asked = koschei.call("repo.request", &["f99-build".into()]).unwrap();
    let request = asked.get("request").unwrap().get("id").unwrap().as_int().unwrap();
    assert_eq!(koschei.call("repo.request", &["f99-build".into()]).unwrap().get("duplicate"), Some(&Value::Bool(true)));
    hub.change(|tx| tx.kojira());
    let state = koschei.call("repo.checkRequest", &[request.into()]).unwrap();
    assert_eq!(state.get("task").unwrap().get("method").unwrap().as_str(), Some("newRepo"));
    hub.work_all();
    let state = koschei.call("repo.checkRequest", &[request.into()]).unwrap();
    let repo = state.get("repo").unwrap().get("id").unwrap().as_int().unwrap();
    assert!(state.get("task").is_none());
    let asked = koschei.call("repo.request", &["f99-build".into()]).unwrap();
    assert_eq!(asked.get("repo").unwrap().get("id").unwrap().as_int(), Some(repo));
    // Something changes: the repository is not current any more, and without a lag it is not good
    // enough any more.
    hub.change(|tx| tx.edit_tag_extra("f99-build", "x", Some(1.into())));
    hub.change(|tx| tx.kojira());
    assert!(koschei.call("repoInfo", &[repo.into()]).unwrap().get("end_event").is_some());
    assert!(koschei.call("repo.request", &["f99-build".into()]).unwrap().get("request").is_some());
    let fault = Caller::new(&hub).call("repo.request", &["f99-build".into()]).unwrap_err();
    assert_eq!((fault.code, fault.message.as_str()), (1004, "you must be logged in for this operation"));
}

#[test]
fn a_broker_that_is_down() {
    let (hub, _dir) = hub();
    hub.take_messages();
    hub.broker(false);
    hub.change(|tx| tx.untag_build("f99", "bash-5.2-1.fc99"));
    assert_eq!(hub.take_messages(), []);
    assert_eq!(topics(&hub.broker(true)), ["untag"]);
}

#[test]
fn a_phantom() {
    let (hub, _dir) = hub();
    let before = hub.dump();
    hub.take_messages();
    hub.phantom(|tx| tx.untag_build("f99", "bash-5.2-1.fc99"));
    assert_eq!(topics(&hub.take_messages()), ["untag"]);
    assert_eq!(hub.dump(), before);
}
