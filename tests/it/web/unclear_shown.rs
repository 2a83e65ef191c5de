//! A failure with unknown cause is shown as unclear: `status`, `why`, `history`, pages, JSON.

use std::process::Command;

use koschei::event::{Event, RebuildFinished, TaskChanged};
use koschei::model::koji::TaskState;
use koschei::model::{Hub, Nvr, Outcome, TaskId};
use serde_json::{Value, json};

use crate::web_site::{Pages, append, ingested};

const WORDS: &str = "failed, cause unknown";
const SAYS: &str = "buildArch (x86_64): frobnication went wrong";

#[tokio::test(flavor = "multi_thread")]
async fn it_is_shown_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let db = dir.path().join("pages.db");
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_koschei")).args(args).arg("--db").arg(&db).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let first = |text: String| -> Value { serde_json::from_str(text.lines().next().unwrap()).unwrap() };
    let of = |status: &Value| {
        let all = status["packages"].as_array().unwrap();
        all.iter().find(|p| p["package"] == "gcc" && p["collection"] == "f99-build").unwrap().clone()
    };
    let before = of(&first(run(&["status", "--json"])));
    let hub = Hub::new("primary");
    let nvr = Nvr::parse(before["latest"].as_str().unwrap()).unwrap();
    let failed = TaskChanged {
        hub: hub.clone(),
        task_id: TaskId(990_001),
        state: TaskState::Failed,
        package: "gcc".into(),
        nvr: Some(nvr),
        target: Some("f99".into()),
        repo_id: None,
        arches: Vec::new(),
        decision: None,
        created_at: None,
        started_at: None,
        finished_at: None,
        children: Vec::new(),
        fault: None,
    };
    let task = (hub, TaskId(990_001));
    let of_gcc = ("f99-build".into(), "gcc".into());
    let ended = RebuildFinished {
        fault: Some("frobnication went wrong".to_owned()),
        mark: Some("0123456789abcdef".to_owned()),
        ..RebuildFinished::untold(task, of_gcc, None, Outcome::Unclear, SAYS.to_owned())
    };
    append(&log, vec![Event::from(failed), ended.into()]).await;

    let after = of(&first(run(&["status", "--json"])));
    assert_eq!(after["state"], before["state"], "it moves no state");
    let build = after["last_builds"].as_array().unwrap().iter().find(|b| b["task_id"] == 990_001).unwrap();
    assert_eq!((&build["outcome"], &build["reason"]), (&json!("unclear"), &json!(SAYS)));
    let told = format!("; its last rebuild {WORDS}: {SAYS}");
    assert_eq!(after["reason"], format!("{}{told}", before["reason"].as_str().unwrap()));

    let table = run(&["status", "--collection", "f99-build"]);
    let row = table.lines().find(|l| l.trim_start().starts_with("gcc-")).unwrap();
    assert!(row.contains(&format!("scratch {WORDS}")), "{row}");
    let why = run(&["why", "gcc", "--collection", "f99-build"]);
    assert!(why.contains(&told) && why.contains(&format!(": {WORDS}\n")), "{why}");
    assert!(why.contains(&format!("its last rebuild {WORDS}; next try at ")), "{why}");
    let history = run(&["history", "--subject", "collection/f99-build/gcc", "--kind", "rebuild_finished"]);
    assert!(history.contains(&format!("task 990001 for gcc: {WORDS} ({SAYS})")), "{history}");

    let pages = Pages::over(&log).await;
    let page = pages.page("/package/gcc?collection=f99-build").await;
    assert!(page.contains(&told) && page.contains(&format!(">{WORDS}<")), "{page}");
    let list = pages.page("/packages?q=gcc&collection=f99-build&state=ok,failing,unresolved,unknown").await;
    assert!(list.contains(WORDS), "{list}");
    assert_eq!(pages.json("/package/gcc?collection=f99-build").await["package"]["reason"], after["reason"]);
    pages.stop().await;
}
