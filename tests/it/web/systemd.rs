//! The service's unit, and the service's messages to systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use koschei::log::EventLog;

use crate::web_site::ingested;

const KOSCHEI: &str = env!("CARGO_BIN_EXE_koschei");

/// Writes the unit with this test's program.
fn unit(dir: &Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/koschei.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/bin/koschei serve "));
    let path = dir.join("koschei.service");
    std::fs::write(&path, text.replace("/usr/bin/koschei", KOSCHEI)).unwrap();
    path
}

/// Runs `systemd-analyze`. Returns whether it succeeded, and both outputs.
fn analyze(args: &[&str], unit: &Path) -> (bool, String) {
    let out = Command::new("systemd-analyze")
        .args(args)
        .arg(unit)
        .output()
        .expect("systemd-analyze can be started; install it, for example with `apt install systemd`");
    (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr))
}

#[test]
fn systemd_understands_the_unit_and_finds_it_tight() {
    let dir = tempfile::tempdir().unwrap();
    let unit = unit(dir.path());
    let (content, said) = analyze(&["verify", "--man=no"], &unit);
    // Two keys are newer than some systemd versions that still run the unit well. Messages about
    // other units do not matter.
    let newer = ["RestartSteps", "RestartMaxDelaySec"];
    let ours = said.lines().filter(|l| l.contains("koschei.service"));
    let wrong: Vec<&str> = ours.filter(|l| !newer.iter().any(|k| l.contains(k))).collect();
    assert!(content && wrong.is_empty(), "{said}");
    // The threshold is in tenths: 15 means an exposure of 1.5 of 10.
    let (content, said) = analyze(&["security", "--offline=yes", "--threshold=15", "--no-pager"], &unit);
    assert!(content && said.contains("Overall exposure level"), "{said}");
    // The test notices a wrong unit.
    let text = std::fs::read_to_string(&unit).unwrap();
    std::fs::write(&unit, text.replace("NoNewPrivileges=yes", "NoSuchKey=yes")).unwrap();
    assert!(analyze(&["verify", "--man=no"], &unit).1.contains("NoSuchKey"));
    std::fs::write(&unit, "[Service]\nExecStart=/bin/true\n").unwrap();
    assert!(!analyze(&["security", "--offline=yes", "--threshold=15", "--no-pager"], &unit).0);
}

#[test]
fn the_unit_calls_a_verb_there_is() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/koschei.service")).unwrap();
    let start = text.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/koschei ")).unwrap();
    let verb = start.split(' ').next().unwrap();
    let out = Command::new(KOSCHEI).args([verb, "--help"]).output().unwrap();
    let help = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && help.contains("--config"), "{help}");
    assert!(help.contains("KOSCHEI_DB"), "the unit sets it");
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_readiness_life_and_end() {
    let dir = tempfile::tempdir().unwrap();
    ingested(dir.path()).await.close().await;
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    let heard = || {
        let mut buffer = [0; 100];
        let n = socket.recv(&mut buffer).expect("something is said within minutes");
        String::from_utf8(buffer[..n].to_vec()).unwrap().trim_end().to_owned()
    };
    let mut child = Command::new(KOSCHEI)
        .args(["web", "--listen", "127.0.0.1:0", "--db"])
        .arg(dir.path().join("pages.db"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "20000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut ready, mut alive) = (false, 0);
    while !ready || alive < 5 {
        match heard().as_str() {
            "READY=1" => ready = true,
            "WATCHDOG=1" => alive += 1,
            other => panic!("{other}"),
        }
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    while heard() != "STOPPING=1" {}
    assert!(child.wait().unwrap().success());
}
