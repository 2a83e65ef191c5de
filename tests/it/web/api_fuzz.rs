//! schemathesis asks the API what its description allows, and what it does not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::feed::scale;
use crate::web_site::{Pages, ingested};

fn description() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi.json")
}

/// Asks a service what a description says. Returns what schemathesis says of it, and whether it is
/// content.
///
/// It does not ask for the stream, which has no end. It does not insist that every valid text is
/// accepted: what a cursor, a moment or a source package is, no schema says.
async fn asked(address: SocketAddr, description: &Path, examples: u64) -> (bool, String) {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("koji-client").join("bin/schemathesis");
    assert!(program.exists(), "there is no {}: run deploy/install-deps.sh build test", program.display());
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.arg("run").arg(description).args(["--url", &format!("http://{address}"), "--seed", "1", "--no-color"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", &examples.to_string()]);
    command.args(["--checks", "all", "--exclude-checks", "positive_data_acceptance"]);
    command.args(["--exclude-operation-id", "streamEvents", "--continue-on-failure"]);
    let output = command.current_dir(dir.path()).env_remove("PYTHONPATH").output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_does_what_its_description_says() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::over(&ingested(dir.path()).await).await;
    let (is_content, said) = asked(pages.address, &description(), scale(15, 300)).await;
    assert!(is_content, "{said}");
    let document: Value = serde_json::from_slice(&std::fs::read(description()).unwrap()).unwrap();
    let all = document["paths"].as_object().unwrap().len();
    assert!(said.contains(&format!("Tested: {}", all - 1)), "{said}");
    pages.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_description_is_found_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::over(&ingested(dir.path()).await).await;
    let mut document: Value = serde_json::from_slice(&std::fs::read(description()).unwrap()).unwrap();
    document["components"]["schemas"]["StatusView"]["properties"]["head"] = json!({ "type": "string" });
    let other = dir.path().join("other.json");
    std::fs::write(&other, document.to_string()).unwrap();
    let (is_content, said) = asked(pages.address, &other, 2).await;
    assert!(!is_content && said.contains("/api/v2/status"), "{said}");
    pages.stop().await;
}
