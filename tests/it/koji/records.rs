//! Recorded answers parsed as records, and our queries compared with the recorded ones.

use std::collections::BTreeMap;

use koschei::koji::calls::{self, ListTasks, Query, ScratchBuild};
use koschei::koji::records::{
    Build, Buildroot, Channel, Event, ExternalRepo, Group, History, Host, InheritanceLink, ListedPackage, METADATA,
    Repo, Rpm, RpmHeaders, SessionGrant, Tag, TaggedBuild, Target, Task, TaskResult, TaskTree, User,
};
use koschei::koji::shape::{FromValue, ShapeError};
use koschei::koji::xmlrpc::{Call, Value, multi};
use koschei::model::koji::{BuildState, RepoState, TaskState};
use koschei::model::{BuildId, Name, Nvr, RepoId, TagId, TaskId, Timestamp};

use crate::koji::exchanges::{all, recording};

type Reader = fn(&Value) -> Result<(), ShapeError>;

fn reads<T: FromValue>(value: &Value) -> Result<(), ShapeError> {
    T::from_value(value).map(|_| ())
}

/// Returns the reader for answers to a method. `None` for methods we do not call.
fn reader(call: &Call) -> Option<Reader> {
    let several = matches!(call.args.first(), Some(Value::Array(_)));
    let counted = call.kwargs.get("queryOpts").is_some_and(|opts| opts.get("countOnly").is_some());
    Some(match call.method.as_str() {
        "getKojiVersion" => reads::<Name>,
        "getLoggedInUser" | "getUser" => reads::<Option<User>>,
        "sslLogin" => reads::<SessionGrant>,
        "getPerms" => reads::<Vec<Name>>,
        "getLastEvent" => reads::<Option<Event>>,
        "listHosts" => reads::<Vec<Host>>,
        "listChannels" => reads::<Vec<Channel>>,
        "tagLastChangeEvent" => reads::<Option<i64>>,
        "getTag" | "getBuildConfig" => reads::<Option<Tag>>,
        "getBuildTarget" => reads::<Option<Target>>,
        "getBuildTargets" => reads::<Vec<Target>>,
        "getInheritanceData" | "getFullInheritance" => reads::<Vec<InheritanceLink>>,
        "getTagGroups" => reads::<Vec<Group>>,
        "getExternalRepoList" => reads::<Vec<ExternalRepo>>,
        "listTagged" => reads::<Vec<TaggedBuild>>,
        "listPackages" => reads::<Vec<ListedPackage>>,
        "queryHistory" => reads::<History>,
        "getBuild" => reads::<Option<Build>>,
        "listRPMs" => reads::<Vec<Rpm>>,
        "getRPMHeaders" => reads::<RpmHeaders>,
        "listBuildroots" if counted => return None,
        "listBuildroots" => reads::<Vec<Buildroot>>,
        "getTaskInfo" if several => reads::<Vec<Option<Task>>>,
        "getTaskInfo" => reads::<Option<Task>>,
        "listTasks" => reads::<Vec<Task>>,
        "getTaskDescendents" => reads::<TaskTree>,
        "getTaskResult" => reads::<TaskResult>,
        "getRepo" | "repoInfo" => reads::<Option<Repo>>,
        "repo.query" if !call.args[1].as_array().is_some_and(|f| f.contains(&"create_event".into())) => return None,
        "repo.query" => reads::<Vec<Repo>>,
        "build" => reads::<TaskId>,
        "repo.request" | "cancelTask" => reads::<()>,
        _ => return None,
    })
}

#[test]
fn every_recorded_answer_reads_as_its_record() {
    let mut read: BTreeMap<String, usize> = BTreeMap::new();
    let mut one = |label: &str, call: &Call, answer: &Value| {
        if let Some(reader) = reader(call) {
            reader(answer).unwrap_or_else(|error| panic!("{label}: {}", error.in_answer_to(&call.method)));
            *read.entry(call.method.clone()).or_default() += 1;
        }
    };
    for exchange in all() {
        let (Some(call), Some(Ok(answer))) = (exchange.call(), exchange.answer()) else { continue };
        if let Some(calls) = multi::split(&call) {
            for (call, answer) in calls.iter().zip(multi::split_answers(answer).unwrap()) {
                if let Ok(answer) = answer {
                    one(&exchange.label, call, &answer);
                }
            }
        } else {
            one(&exchange.label, &call, &answer);
        }
    }
    assert_eq!((read.len(), read.values().sum::<usize>()), (33, 257), "{read:?}");
}

/// Returns the answer of a recorded exchange, parsed as the answer to our query.
fn answered<T>(label: &str, query: &Query<T>) -> T {
    let exchanges = recording("koji");
    let exchange = exchanges.iter().find(|e| e.label == label).unwrap();
    query.read(&exchange.answer().unwrap().unwrap()).unwrap()
}

/// Like [`answered`], and asserts that the recorded query equals ours.
fn recorded<T>(label: &str, query: Query<T>) -> T {
    let exchanges = recording("koji");
    let theirs = exchanges.iter().find(|e| e.label == label).unwrap().call().unwrap();
    assert_eq!(theirs, query.call);
    answered(label, &query)
}

#[test]
fn our_questions_are_those_recorded() {
    assert_eq!(recorded("0002-getKojiVersion", calls::get_koji_version()), "1.35.3");
    assert_eq!(recorded("0004-getLoggedInUser-anonymous", calls::get_logged_in_user()), None);
    assert_eq!(recorded("0005-getLastEvent", calls::get_last_event(None)).unwrap().id, 670);
    let before = Some(Timestamp(1_795_164_716_437_911));
    assert!(recorded("0006-getLastEvent-before", calls::get_last_event(before)).unwrap().id < 670);
    assert_eq!(recorded("0008-tagLastChangeEvent", calls::tag_last_change_event("f99-build")), Some(643));
    assert_eq!(recorded("0010-getTag-nil", calls::get_tag("no-such-tag")), None);
    let tag = answered("0012-getTag-at-event", &calls::get_tag("f99-build")).unwrap();
    assert_eq!((tag.id, tag.arches()), (TagId(3), &["x86_64".into(), "aarch64".into()][..]));
    let target = recorded("0014-getBuildTarget", calls::get_build_target("f99")).unwrap();
    assert_eq!((target.build_tag_name.as_str(), target.dest_tag_name.as_str()), ("f99-build", "f99"));
    let parents = recorded("0018-getFullInheritance", calls::get_full_inheritance("f99-build"));
    assert_eq!((parents[0].name.as_str(), parents[0].depth, parents[0].max_depth), ("f99", Some(1), None));
    let groups = recorded("0067-getTagGroups", calls::get_tag_groups("f99-build"));
    assert!(groups.iter().any(|g| g.name == "build" && g.packages.as_ref().is_some_and(|p| p[0].name == "bash")));
}

#[test]
fn builds_in_a_tag_say_when_they_were_tagged() {
    let builds = answered("0032-listTagged-at-event", &calls::list_tagged("f99-build", None));
    let (build, event) = (&builds[0].build, builds[0].tagged_event);
    assert_eq!((build.nvr().to_string().as_str(), event, build.task_id), ("tar-1.35-2.fc99", Some(587), None));
    assert_eq!(build.state, BuildState::Complete);
    assert_eq!(build.completed, Some("2026-11-20 08:49:29.128478+00:00".parse().unwrap()));
    assert_eq!(answered("0046-getBuild-epoch", &calls::get_build(BuildId(1))).unwrap().epoch, Some(1));
}

#[test]
fn history_has_rows_of_tables() {
    let tables = ["tag_listing", "tag_packages"];
    let history = recorded("0063-queryHistory-tables", calls::query_changes("f99", &tables, 586));
    let [tagged, untagged] = history.table("tag_listing") else { panic!() };
    assert_eq!((tagged.create_event, tagged.revoke_event), (587, None));
    assert_eq!((untagged.revoke_event, untagged.build_name.as_deref()), (Some(643), Some("zlib")));
    assert!(history.table("tag_packages").is_empty() && history.table("tag_config").is_empty());
}

#[test]
fn tasks_say_what_was_asked_of_them() {
    let task = recorded("0081-getTaskInfo-failed", calls::get_task_info(TaskId(319))).unwrap();
    assert_eq!((task.state, task.owner), (TaskState::Failed, Some(3)));
    let request = task.build_request().unwrap();
    assert_eq!((request.target.as_deref(), request.scratch, request.repo_id), (Some("f99"), true, Some(RepoId(2))));
    assert_eq!(request.arch_override, Some(vec!["x86_64".into()]));
    let TaskResult::Fault(fault) = recorded("0084-getTaskResult-noraise-failed", calls::get_task_result(TaskId(319)))
    else {
        panic!()
    };
    assert_eq!((fault.code, fault.message.as_str()), (1005, "Repo/Target mismatch: f98-build/f99-build"));
    let tree = recorded("0078-getTaskDescendents-closed", calls::get_task_descendents(TaskId(326)));
    let tasks = tree.tasks();
    let methods: Vec<_> = tasks.iter().map(|t| t.method.as_str()).collect();
    assert_eq!((methods, tree.0.len()), (vec!["rebuildSRPM", "buildArch"], 3));
    assert!(tasks.iter().all(|task| task.repo_of_step() == Some(RepoId(28))));
    let which = ListTasks { owner: 3, decoded: true, newest_first: true, limit: 3, ..ListTasks::default() };
    let newest = recorded("0076-listTasks-owner", calls::list_tasks(&which));
    assert!(newest.len() == 3 && newest.iter().all(|task| task.build_request().is_some()));
    let states = vec![TaskState::Free, TaskState::Open, TaskState::Assigned];
    let which = ListTasks { owner: 3, states, decoded: true, limit: 10, ..ListTasks::default() };
    let active = answered("0115-listTasks-active", &calls::list_tasks(&which));
    assert_eq!((active.len(), active[0].state), (1, TaskState::Free));
}

#[test]
fn a_request_that_the_hub_did_not_decode_is_decoded() {
    let exchanges = recording("koji-external");
    let answer = |label: &str| exchanges.iter().find(|e| e.label.ends_with(label)).unwrap().answer().unwrap().unwrap();
    let tasks = Vec::<Task>::from_value(&answer("-listTasks-no-decode")).unwrap();
    let metadata = tasks[0].build_request().unwrap().metadata;
    assert_eq!(metadata, Some("just a string".into()));
    let task = Option::<Task>::from_value(&answer("-getTaskInfo-metadata-nested")).unwrap().unwrap();
    let metadata = task.build_request().unwrap().metadata.unwrap();
    let inner = metadata.get("koschei").unwrap();
    assert_eq!((inner.get("big"), inner.get("text")), (Some(&Value::Int(1 << 40)), Some(&"ä<&>".into())));
}

#[test]
fn repositories_say_whether_builds_are_made_from_them() {
    let repo = recorded("0025-repoInfo-first", calls::repo_info(RepoId(1))).unwrap();
    assert_eq!((repo.state, repo.create_event), (RepoState::Deleted, 241));
    assert!(!repo.is_usable() && repo.is_for_builds());
    let exchanges = recording("koji-external");
    let custom = exchanges.iter().find(|e| e.label.ends_with("-repo.checkRequest-custom-opts-4")).unwrap();
    let answer = custom.answer().unwrap().unwrap();
    assert!(!Repo::from_value(answer.get("repo").unwrap()).unwrap().is_for_builds());
}

#[test]
fn what_was_in_a_buildroot() {
    let rpms = recorded("0054-listRPMs-buildroot", calls::list_rpms(3));
    assert_eq!(rpms[0].nevra().to_string(), "filesystem-0:3.18-1.fc99.x86_64");
    assert!(rpms.iter().all(|rpm| !rpm.is_external()));
    let buildroots = recorded("0096-listBuildroots", calls::list_buildroots(TaskId(330)));
    assert_eq!((buildroots[0].id, buildroots[0].repo_id), (151, Some(RepoId(28))));
    let external = recording("koji-external").iter().any(|e| {
        let rpms = e.answer().and_then(Result::ok).and_then(|v| Vec::<Rpm>::from_value(&v).ok());
        e.label.contains("listRPMs-buildroot") && rpms.is_some_and(|all| all.iter().any(Rpm::is_external))
    });
    assert!(external);
    let nvr = Nvr::parse("a-1-1").unwrap();
    let headers = answered("0060-getRPMHeaders-src", &calls::get_source_headers(&nvr, &RpmHeaders::ALL));
    let requires = headers.requires.unwrap();
    assert!(requires.iter().any(|(name, ..)| name.starts_with("rpmlib(")), "{requires:?}");
    assert_eq!(headers.conflicts, Some(Vec::new()), "they were not asked for");
}

#[test]
fn submitting_is_asked_as_recorded() {
    let mut query = calls::build(ScratchBuild {
        source: "../packages/sed/4.9/2.fc99/src/sed-4.9-2.fc99.src.rpm",
        target: "f99",
        repo_id: Some(RepoId(28)),
        arches: &["x86_64".into()],
        metadata: Value::Struct(BTreeMap::new()),
        further: BTreeMap::from([("fail_fast".to_owned(), true.into()), ("scratch".to_owned(), false.into())]),
        priority: 30,
    });
    let Some(Value::Struct(options)) = query.call.args.get_mut(2) else { panic!() };
    assert!(options.remove(METADATA).is_some(), "always there, and not in the recording");
    assert_eq!(recorded("0113-build-scratch", query), TaskId(331));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let exchanges = recording("koji");
    let exchange = exchanges.iter().find(|e| e.label == "0032-listTagged-at-event").unwrap();
    let Ok(Value::Array(mut builds)) = exchange.answer().unwrap() else { panic!() };
    let Value::Struct(members) = &mut builds[3] else { panic!() };
    members.insert("build_id".to_owned(), "new".into());
    let query = calls::list_tagged("f99-build", None);
    let error = query.read(&Value::Array(builds)).unwrap_err();
    assert_eq!(error.to_string(), "listTagged[3].build_id: expected a number, got text");
    let error = query.read(&Value::Nil).unwrap_err();
    assert_eq!(error.to_string(), "listTagged: expected a list, got nothing");
}
