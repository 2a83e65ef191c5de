//! Computes two digests of a state.
//!
//! The *log digest* covers everything folded, including sequences and times, except when the states
//! of packages were announced ([`super::Announced`]): equal logs give equal digests.
//!
//! The *facts digest* covers only facts (tags, package lists, builds, repositories, resolutions),
//! sorted, without sequences, times or decisions. The same facts give the same digest, however the
//! messages of different sources were interleaved. For a hub that was reconciled it covers exactly
//! what the hub can be asked for, so that a dump of the hub's tables gives the same digest
//! ([`super::hub_facts`]).

use std::fmt::Write as _;
use std::io;

use super::hub_facts::digest_of;
use super::{HubState, State};
use crate::model::Hub;

/// Feeds serialised bytes to the hash without keeping them.
struct HashWriter(blake3::Hasher);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl State {
    /// Returns the digest of the whole state, in hex. Cost: O(state).
    pub fn digest(&self) -> String {
        let mut writer = io::BufWriter::with_capacity(1 << 16, HashWriter(blake3::Hasher::new()));
        serde_json::to_writer(&mut writer, self)
            .expect("state holds only what JSON can say, and the hash takes every byte");
        let hash = writer.into_inner().map_err(|_| "flush").expect("the hash takes every byte").0.finalize();
        hash.to_hex().to_string()
    }

    /// Returns the digest of the facts, in hex. Cost: O(facts · log facts).
    pub fn facts_digest(&self) -> String {
        digest_of(&self.facts())
    }

    /// Returns the facts that [`State::facts_digest`] covers, one line each, sorted. They serve to
    /// compare two states by eye or with `diff`.
    pub fn facts(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, hub) in &self.hubs {
            if hub.reconciled_through.is_some() {
                let (facts, watched) = self.hub_facts(name);
                lines.extend(facts.lines(name.as_str(), &watched));
            } else {
                told(name, hub, &mut lines);
                self.resolutions(name, &mut lines);
            }
        }
        lines.sort_unstable();
        lines
    }

    /// Adds the resolutions in force.
    fn resolutions(&self, hub: &Hub, lines: &mut Vec<String>) {
        for c in self.collections.values().filter(|c| c.settings.hub == *hub) {
            // Collections are not named: if two hubs have a tag of the same name, the collections'
            // names depend on which hub came first. Only the resolutions in force are listed: which
            // generations were skipped also depends on the order of messages.
            let head = format!("{hub} tag {} for {}", c.settings.build_tag, c.settings.dest_tag);
            for (arch, a) in &c.arches {
                if let Some(ok) = a.group_ok {
                    lines.push(format!("{head} buildroot {arch} {}", if ok { "ok" } else { "broken" }));
                }
                if let Some((repo, digest)) = a.repo_id.zip(a.content.as_ref().or(a.attachment.as_ref())) {
                    lines.push(format!("{head} resolved {arch} in {repo} {digest}"));
                }
            }
        }
    }
}

/// Adds everything that messages told about a hub that was never asked.
fn told(hub: &Hub, h: &HubState, lines: &mut Vec<String>) {
    for (tag, t) in &h.tags {
        if let Some(arches) = &t.arches {
            lines.push(format!("{hub} tag {tag} arches {}", arches.join(" ")));
        }
        for link in t.inheritance.iter().flatten() {
            lines.push(format!("{hub} tag {tag} inherits {} {}", link.priority, link.tag));
        }
        for (package, p) in &t.packages {
            if let Some(blocked) = p.blocked() {
                let word = if blocked { "blocked" } else { "listed" };
                lines.push(format!("{hub} tag {tag} package {package} {word}"));
            }
            if !p.builds.is_empty() {
                let mut line = format!("{hub} tag {tag} builds {package}");
                for b in &p.builds {
                    write!(line, " {}", b.build).expect("writing to a string");
                }
                lines.push(line);
            }
        }
    }
    for (id, b) in &h.builds {
        let state = b.state.map_or_else(|| "unseen".to_owned(), |s| format!("{s:?}"));
        lines.push(format!("{hub} build {id} {} {state}", b.nvr));
    }
    for (id, r) in &h.repos {
        let event = r.create_event.map(|e| e.to_string()).unwrap_or_default();
        lines.push(format!("{hub} repo {id} {} {:?} {event}", r.tag, r.state));
    }
    for (target, (build, dest)) in &h.targets {
        lines.push(format!("{hub} target {target} {build} {dest}"));
    }
}
