use rstest::rstest;

use super::*;
use crate::event::{ExternalRepo, GroupDefinition, Inheritance, TagObserved, TargetObserved};
use crate::koji::xmlrpc::{Call, Value};
use crate::model::TagId;
use crate::model::koji::NAME_BYTES_MAX;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/koji");

fn hub() -> Hub {
    Hub::new("primary")
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn tag(observed: &[Event], name: &str) -> TagObserved {
    let found = observed.iter().find_map(|event| match event {
        Event::TagObserved(tag) if tag.tag == name => Some(tag.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{name} in {observed:?}"))
}

fn targets(observed: &[Event]) -> Vec<TargetObserved> {
    observed.iter().filter_map(|e| if let Event::TargetObserved(t) = e { Some(t.clone()) } else { None }).collect()
}

#[test]
fn the_recorded_answers_describe_tags_and_targets() {
    let archive = Archive::open(Path::new(RECORDED), hub()).unwrap();
    assert!(archive.unreadable().is_empty(), "{:?}", archive.unreadable());
    let observed = archive.observations();
    let build = tag(&observed, "f99-build");
    assert_eq!(build.tag_id, Some(TagId(3)));
    assert_eq!(build.arches, Some(vec!["x86_64".into(), "aarch64".into()]));
    let parent = Inheritance { tag: "f99".into(), priority: 0, max_depth: None, intransitive: false, no_config: false };
    assert_eq!(build.inheritance, Some(vec![parent]));
    assert_eq!(build.external_repos, Some(Vec::new()));
    let groups = build.groups.unwrap();
    let names: Vec<_> = groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!(names, ["build", "srpm-build"]);
    assert!(groups[0].packages.contains(&"bash".into()) && groups[0].packages.is_sorted());
    let expected =
        [("f98", "f98-build", "f98"), ("f99", "f99-build", "f99"), ("f99-candidate", "f99-build", "f99-candidate")];
    for (target, build_tag, dest_tag) in expected {
        let found = targets(&observed).into_iter().find(|t| t.target == target).unwrap();
        assert_eq!((found.build_tag.as_deref(), found.dest_tag.as_deref()), (Some(build_tag), Some(dest_tag)));
    }
    let curl = archive.source(&Nvr::parse("appbar-7-1.fc99").unwrap()).unwrap();
    assert!(curl.requires.contains(&"libfoo-devel(x86-64)".to_owned()));
    assert_eq!(curl.excludearch, ["i686", "s390x"]);
    assert_eq!((archive.sources().len(), archive.sources().contradictions()), (77, 0));
}

fn text(t: &str) -> Value {
    Value::Text(t.to_owned())
}

fn record(members: &[(&str, Value)]) -> Value {
    Value::Struct(members.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
}

fn keywords(members: &[(&str, Value)]) -> Value {
    let mut all = members.to_vec();
    all.push(("__starstar", Value::Bool(true)));
    record(&all)
}

fn observe(exchanges: Vec<(&str, Vec<Value>, Value)>) -> Vec<Event> {
    let mut answers = Answers::default();
    for (method, args, answer) in exchanges {
        Recorded::of(&Call::new(method.to_owned(), args), Ok(answer)).into_iter().for_each(|said| answers.take(said));
    }
    answers.observations(&hub())
}

fn config(name: &str, id: i64, arches: &str) -> Value {
    record(&[("name", text(name)), ("id", Value::Int(id)), ("arches", text(arches))])
}

#[rstest]
#[case::keyword(vec![text("t"), keywords(&[("event", Value::Int(5))])])]
#[case::positional(vec![text("t"), Value::Int(5)])]
#[case::unknown(vec![text("t"), keywords(&[("new_option", Value::Bool(true))])])]
#[case::too_many(vec![text("t"), Value::Nil, Value::Nil])]
fn questions_about_the_past_or_of_another_shape_are_passed_over(#[case] args: Vec<Value>) {
    assert!(observe(vec![("getBuildConfig", args, config("t", 1, "x86_64"))]).is_empty());
    let now = observe(vec![("getBuildConfig", vec![text("t"), Value::Nil], config("t", 1, "x86_64"))]);
    assert_eq!(now.len(), 1);
}

#[test]
fn the_last_answer_counts_and_the_effective_one_more_than_the_tags_own() {
    let observed = observe(vec![
        ("getBuildConfig", vec![text("t")], config("t", 1, "x86_64")),
        ("getBuildConfig", vec![text("t")], config("t", 1, "x86_64 s390x")),
        ("getTag", vec![text("t")], config("t", 1, "i686")),
        ("getTag", vec![text("u")], config("u", 2, "i686")),
        ("getTag", vec![text("v")], config("v", 3, "")),
    ]);
    assert_eq!(tag(&observed, "t").arches, Some(vec!["x86_64".into(), "s390x".into()]));
    assert_eq!(tag(&observed, "u").arches, Some(vec!["i686".into()]));
    assert_eq!(tag(&observed, "v").arches, None, "nothing of its own says nothing of what it inherits");
}

/// Recorded answers are read like those of a live hub.
#[test]
fn architectures_and_names_follow_kojis_rules() {
    let long = |more: usize| "t".repeat(NAME_BYTES_MAX + more);
    let known =
        |name: &str| observe(vec![("getBuildConfig", vec![text(name)], config(name, 1, "x86_64,aarch64\n s390x"))]);
    let three = ["x86_64", "aarch64", "s390x"].map(Name::from).to_vec();
    assert_eq!(tag(&known(&long(0)), &long(0)).arches, Some(three));
    assert!(known(&long(1)).is_empty());
}

#[test]
fn only_direct_parents_count_and_numbers_find_their_names() {
    let parent = |name: &str, depth: i64, maxdepth: Value| {
        record(&[
            ("name", text(name)),
            ("currdepth", Value::Int(depth)),
            ("priority", Value::Int(5)),
            ("maxdepth", maxdepth),
            ("intransitive", Value::Bool(true)),
            ("noconfig", Value::Bool(false)),
        ])
    };
    let parents = Value::Array(vec![parent("p", 1, Value::Int(2)), parent("q", 2, Value::Nil)]);
    let observed = observe(vec![
        ("getFullInheritance", vec![Value::Int(7)], parents.clone()),
        ("getFullInheritance", vec![Value::Int(8)], parents.clone()),
        ("getFullInheritance", vec![text("r"), keywords(&[("reverse", Value::Bool(true))])], parents),
        ("getTag", vec![text("t")], config("t", 7, "")),
    ]);
    assert_eq!(observed.len(), 1, "nobody named tag 8, and r was asked for its children: {observed:?}");
    let expected =
        Inheritance { tag: "p".into(), priority: 5, max_depth: Some(2), intransitive: true, no_config: false };
    assert_eq!(tag(&observed, "t").inheritance, Some(vec![expected]));
}

#[test]
fn groups_hold_what_they_require() {
    let package = |name: &str, kind: &str, blocked| {
        record(&[("package", text(name)), ("type", text(kind)), ("blocked", Value::Bool(blocked))])
    };
    let group = |name: &str, packages: Vec<Value>, required: &[&str]| {
        let required = required.iter().map(|r| record(&[("name", text(r)), ("blocked", Value::Bool(false))])).collect();
        record(&[("name", text(name)), ("packagelist", Value::Array(packages)), ("grouplist", Value::Array(required))])
    };
    let answer = Value::Array(vec![
        group("build", vec![package("make", "mandatory", false), package("gone", "mandatory", true)], &["base"]),
        group("base", vec![package("bash", "default", false), package("extra", "optional", false)], &["build"]),
    ]);
    let groups = tag(&observe(vec![("getTagGroups", vec![text("t")], answer)]), "t").groups.unwrap();
    let both: Vec<Name> = vec!["bash".into(), "make".into()];
    assert_eq!(groups, ["base", "build"].map(|name| GroupDefinition { name: name.into(), packages: both.clone() }));
}

#[test]
fn external_repositories_are_taken_with_inheritance_where_known() {
    let entry = |tag: &str, name: &str, arches: Value| {
        record(&[
            ("tag_name", text(tag)),
            ("external_repo_name", text(name)),
            ("url", text("http://host/$arch/")),
            ("priority", Value::Int(5)),
            ("merge_mode", text("bare")),
            ("arches", arches),
        ])
    };
    let observed = observe(vec![
        (
            "getTagExternalRepos",
            vec![],
            Value::Array(vec![entry("t", "own", Value::Nil), entry("u", "own", text("x86_64"))]),
        ),
        ("getExternalRepoList", vec![text("t")], Value::Array(vec![entry("base", "all", Value::Nil)])),
    ]);
    let repo = |name: &str, arches| ExternalRepo {
        name: name.into(),
        url: "http://host/$arch/".to_owned(),
        priority: 5,
        merge_mode: "bare".into(),
        arches,
    };
    assert_eq!(tag(&observed, "t").external_repos, Some(vec![repo("all", None)]));
    assert_eq!(tag(&observed, "u").external_repos, Some(vec![repo("own", Some(vec!["x86_64".into()]))]));
    let all = observe(vec![("getExternalRepoList", vec![text("t")], Value::Array(vec![entry("t", "all", text(""))]))]);
    assert_eq!(tag(&all, "t").external_repos, Some(vec![repo("all", None)]), "limited to nothing is not limited");
}

#[test]
fn calls_inside_a_multi_call_count() {
    let call = |method: &str, args: Vec<Value>| record(&[("methodName", text(method)), ("params", Value::Array(args))]);
    let calls = vec![
        call("getTag", vec![text("no-such-tag"), keywords(&[("strict", Value::Bool(true))])]),
        call("getBuildConfig", vec![text("t")]),
        call("getBuildConfig", vec![text("u"), keywords(&[("event", Value::Int(9))])]),
    ];
    let fault = record(&[("faultCode", Value::Int(1000)), ("faultString", text("No such tag"))]);
    let one = |value| Value::Array(vec![value]);
    let answer = Value::Array(vec![fault, one(config("t", 1, "x86_64")), one(config("u", 2, "x86_64"))]);
    let observed = observe(vec![("multiCall", vec![Value::Array(calls)], answer)]);
    assert_eq!(observed.len(), 1, "{observed:?}");
    assert_eq!(tag(&observed, "t").arches, Some(vec!["x86_64".into()]));
}

#[test]
fn everything_is_optional_but_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(dir.path(), hub()).unwrap();
    assert!(archive.observations().is_empty());
    assert_eq!(archive.repo(&hub(), "t", RepoId(1)).unwrap(), None);
    assert!(archive.source(&Nvr::parse("a-1-1").unwrap()).is_none());
    let error = Archive::open(&dir.path().join("none"), hub()).unwrap_err();
    assert_eq!(error.class(), Class::Rejected);
    assert!(error.to_string().contains("none"), "{error}");
}

#[test]
fn repositories_are_found_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(
        root,
        "repos/t-build/7/repo.json",
        r#"{"id":7,"tag":"t-build","event_id":99,"opts":{"src":true,"maven":false},"custom_opts":{"src":true}}"#,
    );
    for arch in ["x86_64", "aarch64", "src"] {
        write(root, &format!("repos/t-build/7/{arch}/repodata/repomd.xml"), "<repomd/>");
    }
    write(root, "repos/t-build/7/i386/pkglist", "");
    write(root, "repos/t-build/7/groups/comps.xml", "<comps/>");
    write(root, "repos/other/8/repo.json", r#"{"id":8,"event_id":100,"opts":{},"custom_opts":{}}"#);
    write(root, "repos/other/9/x86_64/repodata/repomd.xml", "<repomd/>");
    let archive = Archive::open(root, hub()).unwrap();
    let repo = |tag: &str, id| archive.repo(&hub(), tag, RepoId(id)).unwrap();
    let expected = ArchivedRepo {
        dir: root.join("repos/t-build/7"),
        create_event: Some(99),
        opts: vec!["src".into()],
        custom: true,
        arches: vec!["aarch64".into(), "x86_64".into()],
    };
    assert_eq!(repo("t-build", 7), Some(expected.clone()));
    assert_eq!(repo("t-build-renamed", 7), Some(expected.clone()), "the tag was renamed");
    assert_eq!(repo("../repos/t-build", 7), Some(expected), "a name from outside is no path");
    let ready_for_nothing = repo("other", 8).unwrap();
    assert_eq!((ready_for_nothing.arches.len(), ready_for_nothing.custom), (0, false));
    assert_eq!(repo("other", 9).unwrap().create_event, None);
    assert_eq!(repo("other", 10), None);
    assert_eq!(archive.repo(&Hub::new("arm"), "other", RepoId(8)).unwrap(), None, "another hub's number");
}

#[rstest]
#[case::another_id(r#"{"id":8}"#, "describes repository 8, not 7")]
#[case::not_json("{", "EOF")]
#[case::event_is_text(r#"{"id":7,"event_id":"x"}"#, "invalid type")]
fn a_wrong_description_is_an_error(#[case] json: &str, #[case] reason: &str) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "repos/t/7/repo.json", json);
    let error = Archive::open(dir.path(), hub()).unwrap().repo(&hub(), "t", RepoId(7)).unwrap_err();
    assert!(error.to_string().contains(reason) && error.to_string().contains("repos/t/7/repo.json"), "{error}");
}

#[test]
fn a_bad_exchange_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(Path::new(RECORDED).join("xmlrpc")).unwrap() {
        let path = entry.unwrap().path();
        write(
            dir.path(),
            &format!("xmlrpc/{}", path.file_name().unwrap().to_str().unwrap()),
            &fs::read_to_string(&path).unwrap(),
        );
    }
    let request = "<methodCall><methodName>getTag</methodName></methodCall>";
    write(dir.path(), "xmlrpc/0000-down.req.xml", request);
    write(dir.path(), "xmlrpc/0000-down.resp.xml", "<html><body>Internal Server Error</body></html>");
    write(dir.path(), "xmlrpc/9998-large.req.xml", request);
    write(dir.path(), "xmlrpc/9998-large.resp.xml", &" ".repeat(usize::try_from(MAX_EXCHANGE).unwrap() + 1));
    write(dir.path(), "xmlrpc/9999-unanswered.req.xml", request);
    let archive = Archive::open(dir.path(), hub()).unwrap();
    let unreadable: Vec<_> = archive.unreadable().iter().map(ToString::to_string).collect();
    assert_eq!(unreadable.len(), 2, "{unreadable:?}");
    assert!(unreadable[0].contains("0000-down.resp.xml") && unreadable[1].contains("9998-large"), "{unreadable:?}");
    let whole = Archive::open(Path::new(RECORDED), hub()).unwrap();
    assert_eq!(archive.observations(), whole.observations());
}
