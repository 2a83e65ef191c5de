//! A page in a real browser: it shows what a person should see, and our own headers block nothing
//! it needs.

use std::process::{Command, Stdio};

use koschei::model::Seq;

use crate::web_site::{Pages, ingested};

/// Returns a page's document after loading in Chromium, and Chromium's complaints.
fn load(url: &str) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let run = |program: &str| {
        Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
            .args(["--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdin(Stdio::null())
            .output()
    };
    let out = run("chromium")
        .or_else(|_| run("chromium-browser"))
        .expect("chromium can be started; install it, for example with `apt install chromium`");
    let complaints = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{complaints}");
    let console = complaints.lines().filter(|l| l.contains(":CONSOLE")).map(|l| format!("{l}\n")).collect();
    (String::from_utf8(out.stdout).unwrap(), console)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_shows_the_cause_of_a_broken_package() {
    let dir = tempfile::tempdir().unwrap();
    let log = ingested(dir.path()).await;
    let pages = Pages::up_to(&log, Seq::new(482)).await;
    let url = format!("http://{}/package/docfoo?collection=f99-build", pages.address);
    let (document, console) = tokio::task::spawn_blocking(move || load(&url)).await.unwrap();
    assert!(document.contains("<h1>docfoo</h1>"), "{document}");
    assert!(document.contains("nothing provides libfoo.so.1()(64bit) needed by appfoo-2.1-1.fc99.x86_64"));
    assert!(document.contains("repository 5 of f99-build ready"));
    assert_eq!(console, "", "the browser has nothing to complain about");
    pages.stop().await;
}
