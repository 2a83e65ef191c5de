//! Checks of the newest repository of a build tag and of its files.

use std::io::BufReader;
use std::path::PathBuf;

use super::{Verdict, on_thread, unanswered};
use crate::config::CollectionConfig;
use crate::koji::client::HubSettings;
use crate::koji::files::{FetchError, FetchSettings, Fetcher, Place};
use crate::koji::records::{Repo, Tag};
use crate::koji::{HubClient, HubError, calls};
use crate::model::causes::with_causes;
use crate::model::koji::RepoState;
use crate::model::{Name, RepoId, arch};
use crate::repodata::{Limits, Repomd};

/// Number of the newest repositories that are searched for one that builds use.
const REPOS_MAX: u32 = 50;
/// Largest index (repomd.xml) of a repository that is read, in bytes.
const REPOMD_MAX: u64 = 4 << 20;

/// Checks the newest repository of a build tag, and whether its index can be fetched for each
/// architecture.
pub(super) async fn repository(
    client: &HubClient,
    place: &Place,
    tag: &Tag,
    c: &CollectionConfig,
    whole: bool,
    asked_after: u64,
) -> Verdict {
    let newest = match newest(client, tag, whole).await {
        Ok(Some(newest)) => newest,
        Ok(None) => {
            let found = format!("`{}` has no repository that is ready", tag.name);
            return match asked_after {
                0 => Verdict::failed(
                    found,
                    "create one (`koji regen-repo`, `koji wait-repo --request`), or set `request_repo_after_secs`; \
                        until then nothing is resolved",
                ),
                secs => {
                    Verdict::warning(found, format!("Koschei requests one after the tag has had none for {secs} s"))
                }
            };
        }
        Err(e) => return unanswered(&e),
    };
    let at = match newest.create_event {
        event if event > 0 => Some(event),
        _ => None,
    };
    let arches: Vec<Name> = match client.ask(calls::get_build_config(&tag.name, at)).await {
        Ok(Some(then)) => then.arches().to_vec(),
        Ok(None) => tag.arches().to_vec(),
        Err(e) => return unanswered(&e),
    };
    let ours = |a: &&str| c.arches.is_empty() || c.arches.iter().any(|b| arch::canonical(b) == *a);
    let mut had = Vec::new();
    let mut wrong = Vec::new();
    for arch in arches.iter().map(|a| arch::canonical(a)).filter(ours) {
        match repomd(client, place, &tag.name, newest.id, arch).await {
            Ok(index) if index.find("primary").is_some() => had.push(arch.to_owned()),
            Ok(_) => wrong.push(format!("{arch}: its index names no packages")),
            Err(why) => wrong.push(format!("{arch}: {why}")),
        }
    }
    let found = format!("newest is {} of {}", newest.id, tag.name);
    if wrong.is_empty() {
        return Verdict::ok(format!("{found}; {} can be read at {place}", had.join(", ")));
    }
    let advice = match place {
        Place::Http(_) => "check `topurl`, and that its server allows reading; `serverca` is trusted for it too",
        Place::Dir(_) => "check `topurl`: is the disk mounted, and may this user read it?",
    };
    Verdict::failed(format!("{found}; {}", wrong.join("; ")), advice)
}

async fn newest(client: &HubClient, tag: &Tag, whole: bool) -> Result<Option<Repo>, HubError> {
    if !whole {
        return client.ask(calls::get_repo(&tag.name)).await;
    }
    let repos = client.ask(calls::query_repos(tag.id, Some(RepoState::Ready), REPOS_MAX)).await?;
    Ok(repos.into_iter().filter(Repo::is_for_builds).max_by_key(|r| (r.create_event, r.id)))
}

/// Reads the index of a repository for one architecture.
async fn repomd(client: &HubClient, place: &Place, tag: &str, id: RepoId, arch: &str) -> Result<Repomd, String> {
    let id = id.to_string();
    let parts = ["repos", tag, &id, arch, "repodata", "repomd.xml"];
    if parts.iter().any(|p| p.is_empty() || p.contains('/') || *p == "..") {
        return Err("its name cannot be the name of a directory".to_owned());
    }
    let (path, fetched) = match place {
        Place::Dir(top) => (parts.iter().fold(top.clone(), |path, part| path.join(part)), false),
        Place::Http(top) => {
            let mut url = top.clone();
            if let Ok(mut segments) = url.path_segments_mut() {
                segments.pop_if_empty().extend(parts);
            }
            let path = std::env::temp_dir().join(format!("koschei-doctor-{}-{id}-{arch}.xml", std::process::id()));
            let got = fetch(client.settings(), url.as_str(), &path).await;
            got.map_err(|e| with_causes(&e))?;
            (path, true)
        }
    };
    let read = on_thread(move || read(path, fetched)).await;
    read.unwrap_or_else(|| Err("the file could not be read".to_owned()))
}

async fn fetch(hub: &HubSettings, url: &str, to: &std::path::Path) -> Result<u64, FetchError> {
    let settings = FetchSettings {
        attempts: 1,
        connect_timeout: hub.connect_timeout,
        idle_timeout: hub.request_timeout,
        file_bytes_max: REPOMD_MAX,
        authorities: hub.serverca.clone(),
        ..FetchSettings::default()
    };
    Fetcher::new(settings)?.file(url, to, None, None).await
}

fn read(path: PathBuf, fetched: bool) -> Result<Repomd, String> {
    let name = path.display().to_string();
    let parsed = std::fs::File::open(&path)
        .map_err(|e| format!("read {name}: {e}"))
        .and_then(|file| Repomd::parse(BufReader::new(file), &name, &Limits::default()).map_err(|e| with_causes(&e)));
    if fetched && let Err(e) = std::fs::remove_file(&path) {
        tracing::debug!(path = %name, error = %crate::model::causes::with_causes(&e), "cannot remove a temporary file");
    }
    parsed
}
