//! Recorded answers read as records, and our questions against the recorded ones.

use std::collections::BTreeMap;

use koschei::koji::calls::{
    self, ListBuilds, ListRpms, ListTagged, ListTaggedRpms, ListTasks, Page, Query, QueryHistory,
};
use koschei::koji::records::{
    Build, Buildroot, Channel, Event, ExternalRepo, Group, History, Host, InheritanceLink, ListedPackage, Repo,
    RepoAnswer, Rpm, RpmDependency, SessionGrant, Tag, TaggedBuild, TaggedRpms, Target, Task, TaskResult, TaskTree,
    User,
};
use koschei::koji::shape::{FromValue, ShapeError};
use koschei::koji::xmlrpc::{Call, Value, multi};
use koschei::model::koji::{BuildState, RepoState, TaskState};
use koschei::model::{BuildId, Name, RepoId, TagId, TaskId, Timestamp};
use rstest::rstest;

use crate::koji_exchanges::{all, recording};

type Reader = fn(&Value) -> Result<(), ShapeError>;

fn reads<T: FromValue>(value: &Value) -> Result<(), ShapeError> {
    T::from_value(value).map(|_| ())
}

/// How answers to a method are read; `None` for methods we do not call.
fn reader(call: &Call) -> Option<Reader> {
    let several = matches!(call.args.first(), Some(Value::Array(_)));
    let counted = call.kwargs.get("queryOpts").is_some_and(|opts| opts.get("countOnly").is_some());
    Some(match call.method.as_str() {
        "getKojiVersion" | "getAPIVersion" => reads::<Name>,
        "getLoggedInUser" | "getUser" => reads::<Option<User>>,
        "sslLogin" => reads::<SessionGrant>,
        "getPerms" | "getAllArches" => reads::<Vec<Name>>,
        "getLastEvent" | "getEvent" => reads::<Option<Event>>,
        "listHosts" => reads::<Vec<Host>>,
        "listChannels" => reads::<Vec<Channel>>,
        "tagLastChangeEvent" => reads::<Option<i64>>,
        "getTag" | "getBuildConfig" => reads::<Option<Tag>>,
        "listTags" => reads::<Vec<Tag>>,
        "getBuildTarget" => reads::<Option<Target>>,
        "getBuildTargets" => reads::<Vec<Target>>,
        "getInheritanceData" | "getFullInheritance" => reads::<Vec<InheritanceLink>>,
        "getTagGroups" => reads::<Vec<Group>>,
        "getExternalRepoList" => reads::<Vec<ExternalRepo>>,
        "listTagged" => reads::<Vec<TaggedBuild>>,
        "listTaggedRPMS" => reads::<TaggedRpms>,
        "listPackages" => reads::<Vec<ListedPackage>>,
        "getPackageConfig" => reads::<Option<ListedPackage>>,
        "queryHistory" => reads::<History>,
        "getBuild" => reads::<Option<Build>>,
        "listBuilds" => reads::<Vec<Build>>,
        "listRPMs" | "listBuildRPMs" => reads::<Vec<Rpm>>,
        "getRPMDeps" => reads::<Vec<RpmDependency>>,
        "getRPMHeaders" => reads::<BTreeMap<String, Value>>,
        "listBuildroots" if counted => return None,
        "listBuildroots" => reads::<Vec<Buildroot>>,
        "getBuildroot" => reads::<Option<Buildroot>>,
        "getTaskInfo" if several => reads::<Vec<Option<Task>>>,
        "getTaskInfo" => reads::<Option<Task>>,
        "getTaskChildren" | "listTasks" => reads::<Vec<Task>>,
        "getTaskDescendents" => reads::<TaskTree>,
        "getTaskResult" => reads::<TaskResult>,
        "getRepo" | "repoInfo" | "repo.get" => reads::<Option<Repo>>,
        "repo.query" if !call.args[1].as_array().is_some_and(|f| f.contains(&"create_event".into())) => return None,
        "repo.query" => reads::<Vec<Repo>>,
        "repo.request" | "repo.checkRequest" => reads::<RepoAnswer>,
        "build" | "resubmitTask" => reads::<TaskId>,
        "cancelTask" => reads::<()>,
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
    assert_eq!((read.len(), read.values().sum::<usize>()), (47, 319), "{read:?}");
}

/// The answer of a recorded exchange, and that its question is ours.
fn recorded<T>(label: &str, query: Query<T>) -> T {
    let exchanges = recording("koji");
    let exchange = exchanges.iter().find(|e| e.label == label).unwrap();
    let (theirs, ours) = (exchange.call().unwrap(), &query.call);
    assert_eq!((&theirs.method, &theirs.args, &theirs.kwargs), (&ours.method, &ours.args, &ours.kwargs));
    query.read(&exchange.answer().unwrap().unwrap()).unwrap()
}

#[test]
fn our_questions_are_those_recorded() {
    assert_eq!(recorded("0001-getAPIVersion", calls::get_api_version()), 1);
    assert_eq!(recorded("0002-getKojiVersion", calls::get_koji_version()), "1.35.3");
    assert_eq!(recorded("0004-getLoggedInUser-anonymous", calls::get_logged_in_user()), None);
    let event = recorded("0005-getLastEvent", calls::get_last_event(None)).unwrap();
    assert_eq!((event.id, event.time), (670, Timestamp(1_795_164_719_661_241)));
    assert_eq!(recorded("0008-tagLastChangeEvent", calls::tag_last_change_event("f99-build")), Some(643));
    let tag = recorded("0012-getTag-at-event", calls::get_tag("f99-build", Some(670))).unwrap();
    assert_eq!(
        (tag.id, tag.arches(), tag.option("repo.auto")),
        (TagId(3), &["x86_64".into(), "aarch64".into()][..], true)
    );
    assert_eq!(recorded("0010-getTag-nil", calls::get_tag("no-such-tag", None)), None);
    let target = recorded("0014-getBuildTarget", calls::get_build_target("f99", None)).unwrap();
    assert_eq!((target.build_tag_name.as_str(), target.dest_tag_name.as_str()), ("f99-build", "f99"));
    assert_eq!(recorded("0015-getBuildTargets", calls::get_build_targets(None)).len(), 3);
    let parents = recorded("0018-getFullInheritance", calls::get_full_inheritance("f99-build", None));
    assert_eq!((parents[0].name.as_str(), parents[0].depth, parents[0].max_depth), ("f99", Some(1), None));
    let groups = recorded("0067-getTagGroups", calls::get_tag_groups("f99-build", None));
    assert!(groups.iter().any(|g| g.name == "build" && g.packages.as_ref().is_some_and(|p| p[0].name == "bash")));
}

#[test]
fn builds_in_a_tag_say_when_they_were_tagged() {
    let which = ListTagged { inherit: true, latest: true, event: Some(646), ..ListTagged::default() };
    let builds = recorded("0032-listTagged-at-event", calls::list_tagged("f99-build", &which));
    let first = &builds[0];
    assert_eq!(
        (first.nvr().to_string().as_str(), first.tagged_event, first.task_id),
        ("tar-1.35-2.fc99", Some(587), None)
    );
    assert_eq!((first.state, first.tag_name.as_str(), first.draft), (BuildState::Complete, "f99", false));
    assert_eq!(first.completed, Some("2026-11-20 08:49:29.128478+00:00".parse().unwrap()));
    let which = ListTaggedRpms { inherit: true, latest: true, ..ListTaggedRpms::default() };
    let call = calls::list_tagged_rpms("f99-build", &which).with("arch", "src");
    let tagged = recorded("0034-listTaggedRPMS-src", call);
    assert!(tagged.rpms.iter().all(|rpm| rpm.arch == "src") && !tagged.builds.is_empty());
    let listed = ListBuilds { state: Some(BuildState::Failed), ..ListBuilds::default() };
    let failed = recorded("0050-listBuilds-state", calls::list_builds(&listed));
    assert_eq!((failed[0].build_id, failed[0].task_id), (BuildId(53), Some(TaskId(115))));
    assert_eq!(recorded("0046-getBuild-epoch", calls::get_build("docfoo-20240901-1.fc99")).unwrap().epoch, Some(1));
}

#[test]
fn history_has_rows_of_tables() {
    let which = QueryHistory {
        tables: vec!["tag_listing".into(), "tag_packages".into()],
        tag: Some("f99".into()),
        after_event: Some(586),
        ..QueryHistory::default()
    };
    let history = recorded("0063-queryHistory-tables", calls::query_history(&which));
    let [tagged, untagged] = history.table("tag_listing") else { panic!() };
    assert_eq!((tagged.create_event, tagged.created_after, tagged.active), (587, true, true));
    assert_eq!((untagged.revoke_event, untagged.revoked_after, untagged.active), (Some(643), true, false));
    assert_eq!((untagged.tag_name().unwrap().as_str(), untagged.revoker_name.as_deref()), ("f99", Some("kojiadmin")));
    let (build, nvr) = untagged.build().unwrap();
    assert_eq!((build, nvr.to_string().as_str()), (BuildId(77), "zlib-1.3.1-3.fc99"));
    assert_eq!(untagged.take::<BuildState>("build.state"), Ok(BuildState::Deleted));
    assert_eq!(untagged.take::<i64>("tag.name").unwrap_err().to_string(), ".tag.name: expected a number, got text");
    assert!(history.table("tag_packages").is_empty() && history.table("tag_config").is_empty());
}

#[test]
fn tasks_say_what_was_asked_of_them() {
    let task = recorded("0081-getTaskInfo-failed", calls::get_task_info(TaskId(319))).unwrap();
    assert_eq!((task.state, task.owner, task.parent), (TaskState::Failed, Some(3), None));
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
    assert!(tasks.iter().all(|task| task.build_arch_request().unwrap().repo_id == Some(RepoId(28))));
    let which = ListTasks {
        method: Some("build".into()),
        owner: Some(3),
        states: vec![TaskState::Free, TaskState::Open, TaskState::Assigned],
        page: Page { order: Some("id".to_owned()), ..Page::default() },
        ..ListTasks::default()
    };
    let active = recorded("0115-listTasks-active", calls::list_tasks(&which));
    assert_eq!((active.len(), active[0].owner_name.as_deref(), active[0].state), (1, Some("koschei"), TaskState::Free));
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
fn repositories_and_requests_for_them() {
    let repo = recorded("0025-repoInfo-first", calls::repo_info(RepoId(1))).unwrap();
    assert_eq!((repo.state, repo.create_event, repo.end_event), (RepoState::Deleted, 241, Some(265)));
    assert!(!repo.is_usable() && !repo.is_custom());
    let exchanges = recording("koji-external");
    let answer = |label: &str| {
        let found = exchanges.iter().find(|e| e.label.ends_with(label)).unwrap_or_else(|| panic!("{label}"));
        RepoAnswer::from_value(&found.answer().unwrap().unwrap()).unwrap()
    };
    let new = answer("-repo.request");
    assert_eq!((new.repo.is_none(), new.duplicate, new.has_failed()), (true, false, false));
    let waiting = answer("-repo.checkRequest-new-2");
    assert_eq!(waiting.task.unwrap().method, "newRepo");
    let done = answer("-repo.checkRequest-new-3");
    assert_eq!((done.repo.as_ref().map(|r| r.id), done.has_failed()), (Some(RepoId(62)), false));
    assert!(answer("-repo.checkRequest-mixed-8").has_failed());
    assert!(answer("-repo.checkRequest-custom-opts-4").repo.unwrap().is_custom());
}

#[test]
fn what_was_in_a_buildroot() {
    let rpms = recorded("0054-listRPMs-buildroot", calls::list_rpms(ListRpms::InBuildroot(3), &[]));
    assert_eq!(rpms[0].nevra().to_string(), "filesystem-0:3.18-1.fc99.x86_64");
    assert!(rpms.iter().all(|rpm| !rpm.is_external()));
    let buildroots = recorded("0096-listBuildroots", calls::list_buildroots(calls::BuildrootsOf::Task(TaskId(330))));
    assert_eq!((buildroots[0].id, buildroots[0].repo_id, buildroots[0].repo_event), (151, Some(RepoId(28)), Some(646)));
    let external = recording("koji-external").iter().any(|e| {
        let rpms = e.answer().and_then(Result::ok).and_then(|v| Vec::<Rpm>::from_value(&v).ok());
        e.label.contains("listRPMs-buildroot") && rpms.is_some_and(|all| all.iter().any(Rpm::is_external))
    });
    assert!(external);
}

#[rstest]
#[case::free("0113-build-scratch", calls::BuildOptions {
    scratch: true,
    repo_id: Some(RepoId(28)),
    arch_override: vec!["x86_64".into()],
    fail_fast: true,
    priority: Some(30),
    ..calls::BuildOptions::default()
})]
fn submitting_is_asked_as_recorded(#[case] label: &str, #[case] options: calls::BuildOptions) {
    let source = "../packages/sed/4.9/2.fc99/src/sed-4.9-2.fc99.src.rpm";
    assert_eq!(recorded(label, calls::build(source, Some("f99"), &options)), TaskId(331));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let exchanges = recording("koji");
    let exchange = exchanges.iter().find(|e| e.label == "0032-listTagged-at-event").unwrap();
    let Ok(Value::Array(mut builds)) = exchange.answer().unwrap() else { panic!() };
    let Value::Struct(members) = &mut builds[3] else { panic!() };
    members.insert("build_id".to_owned(), "new".into());
    let query = calls::list_tagged("f99-build", &ListTagged::default());
    let error = query.read(&Value::Array(builds)).unwrap_err();
    assert_eq!(error.to_string(), "listTagged[3].build_id: expected a number, got text");
    let error = query.read(&Value::Nil).unwrap_err();
    assert_eq!(error.to_string(), "listTagged: expected a list, got nothing");
}
